r"""DPM-Solver: exponential integrators in the log-SNR that extrapolate the noise.

$$x_b = \frac{\alpha_b}{\alpha_a} x_a - \sigma_b h \int_0^1 e^{(1-\tau) h}\, \hat\epsilon(\lambda_a + \tau h)\, d\tau$$
"""

from dataclasses import dataclass

import numpy as np

from artifex.samplers.path import check_order, path_of
from artifex.samplers.rows import lean, moments, multistep_noise
from artifex.samplers.stages import Stage, singlestep
from artifex.samplers.tableau import Tableau
from artifex.schedules import Host, Schedule


@dataclass(frozen=True)
class DpmSolverSingle:
    r"""DPM-Solver-1, -2 and -3: as many calls of the network in a step as the order, and no memory between steps.

    The calls lie at $\lambda_a + r h$ with $r = 0$; $0, 1/2$; or $0, 1/3, 2/3$. Closed steps are of first order.

    Attributes:
        order: 1, 2 or 3.

    Raises:
        ValueError: for another ``order``.

    References: Lu et al. 2022, https://arxiv.org/abs/2206.00927
    """

    order: int = 2

    def __post_init__(self) -> None:
        check_order(self.order, 3)

    def tableau(self, schedule: Schedule, times: Host) -> Tableau[Host]:
        """``order`` rows a step."""
        steps = path_of(schedule, times)
        if self.order == 1:
            return singlestep(steps, [])
        if self.order == 2:
            return singlestep(steps, [Stage(steps.between(schedule, 0.5), noise=steps.drift)])
        first, second = steps.between(schedule, 1 / 3), steps.between(schedule, 2 / 3)
        return singlestep(
            steps,
            [
                Stage(first, noise=2 * second.sigma * moments(-2 / 3 * steps.h, 1)[:, 0]),
                Stage(second, noise=3 / 2 * steps.b.sigma * moments(-steps.h, 1)[:, 0]),
            ],
        )


@dataclass(frozen=True)
class DpmSolverMulti:
    r"""DPM-Solver in its multistep form: one call a step, and a polynomial in $\lambda$ through the last predictions.

    Of second order it takes the slope at half its weight, $-\tfrac12 \sigma_b (e^h - 1)$, as the paper does; of third
    order it integrates the polynomial exactly. Closed steps are of first order.

    Attributes:
        order: 1, 2 or 3.
        lower_final: whether the order falls to 1 over the last steps; None: in walks of fewer than 15 steps.

    Raises:
        ValueError: for another ``order``; by ``tableau``, for fewer steps than that.

    References: Lu et al. 2022, https://arxiv.org/abs/2206.00927; https://arxiv.org/abs/2211.01095
    """

    order: int = 2
    lower_final: bool | None = None

    def __post_init__(self) -> None:
        check_order(self.order, 3)

    def tableau(self, schedule: Schedule, times: Host) -> Tableau[Host]:
        """One row a step."""
        steps = path_of(schedule, times)
        orders = steps.orders(self.order, lower_final=self.lower_final)
        integrals = moments(-steps.h, self.order - 1)
        integrals[orders == 2, :1] = (-np.expm1(steps.h) / 2)[orders == 2, None]
        older = steps.b.sigma[:, None] * lean(steps.nodes(self.order - 1), integrals, orders)
        return multistep_noise(steps, older)
