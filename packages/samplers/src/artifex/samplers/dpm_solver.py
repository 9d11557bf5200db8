r"""DPM-Solver: exponential integrators in the log-SNR, with polynomials through the predicted noise.

$$x_b = \frac{\alpha_b}{\alpha_a} x_a - \sigma_b h \int_0^1 e^{(1-\tau) h}\, \hat\epsilon(\lambda_a + \tau h)\, d\tau$$
"""

from dataclasses import dataclass

import numpy as np

from artifex.kernels.ranges import check_number
from artifex.samplers.multistep import (
    SolverType,
    check_solver_type,
    difference_weights,
    moments,
    multistep_eps,
    solver_moments,
)
from artifex.samplers.singlestep import Stage, singlestep
from artifex.samplers.steps import check_order, steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class DPMSolverSinglestep:
    r"""DPM-Solver-1, -2 and -3: ``order`` calls of the network per step, and no memory between steps.

    The network is called at $\lambda_a + r h$ with $r = 0$; $0, 1/2$; or $0, 1/3, 2/3$. Closed steps are of first
    order.

    Attributes:
        order: 1, 2 or 3.

    Raises:
        ValueError: for another ``order``.

    References: Lu et al. 2022, https://arxiv.org/abs/2206.00927
    """

    order: int = 2

    def __post_init__(self) -> None:
        check_order(self.order, 3)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """``order`` rows per step."""
        steps = steps_along(schedule, times)
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
class DPMSolverMultistep:
    r"""Multistep DPM-Solver: one call per step, and a polynomial in $\lambda$ through the last predictions.

    $$x_b = \frac{\alpha_b}{\alpha_a} x_a -
      (1 + \eta)\, \sigma_b (M_0 \hat\epsilon + M_1 \hat\epsilon' + M_2 \hat\epsilon'') +
      \sigma_b \sqrt{\eta\, (e^{2h} - 1)}\, z,\qquad M_m = h \int_0^1 e^{(1-\tau) h} \tau^m d\tau$$

    Closed steps are of first order and draw no noise. With ``eta`` this is the SDE form, whose marginals are right only
    in the limit of small $h$: a step of $h > \log 3$ amplifies the old noise. ``DPMSolverPPMultistep`` is not affected.

    Attributes:
        order: 1, 2 or 3.
        eta: 0 for the probability flow, 1 for the reverse SDE.
        solver_type: $M_1$ of second-order steps: $M_0 / 2$ for ``"midpoint"``, the integral for ``"heun"``.
        diffusers_compat: whether $M_2$ is halved, as in diffusers, which reduces the third order to the second; see
            ``DPMSolverPPMultistep``.
        lower_order_final: whether the order falls to 1 over the last steps; None: only with fewer than 15 steps.
        euler_at_final: whether the last step alone is of first order.

    Raises:
        ValueError: for another ``order`` or ``solver_type``, or an ``eta`` that is negative or not finite.

    References: Lu et al. 2022, https://arxiv.org/abs/2206.00927; https://arxiv.org/abs/2211.01095
    """

    order: int = 2
    eta: float = 0.0
    solver_type: SolverType = "midpoint"
    diffusers_compat: bool = False
    lower_order_final: bool | None = None
    euler_at_final: bool = False

    def __post_init__(self) -> None:
        check_order(self.order, 3)
        check_number("eta", self.eta, 0)
        check_solver_type(self.solver_type)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step."""
        steps = steps_along(schedule, times)
        orders = steps.orders(self.order, lower_order_final=self.lower_order_final, euler_at_final=self.euler_at_final)
        integrals = solver_moments(-steps.h, orders, self.order - 1, self.solver_type, self.diffusers_compat)
        older = (
            (1 + self.eta) * steps.b.sigma[:, None] * difference_weights(steps.nodes(self.order - 1), integrals, orders)
        )
        if self.eta == 0:
            return multistep_eps(steps, older)
        extra_eps, lost = np.where(steps.finite, steps.drift, 0.0), 1 - steps.exp_neg_h**2
        noise = np.where(steps.finite, steps.rho * steps.b.alpha * np.sqrt(self.eta * lost), 0.0)
        return multistep_eps(steps, older, self.eta * extra_eps, noise)
