r"""DPM-Solver++: exponential integrators in the log-SNR, with polynomials through the predicted data, and SDE forms.

$$x_b = \frac{\sigma_b}{\sigma_a} x_a + \alpha_b h \int_0^1 e^{-(1-\tau) h}\, \hat x_0(\lambda_a + \tau h)\, d\tau$$
"""

from dataclasses import dataclass

import numpy as np

from artifex.kernels.ranges import check_number
from artifex.samplers.euler_ancestral import ancestral_fraction, lower_ends
from artifex.samplers.multistep import (
    SolverType,
    check_solver_type,
    difference_weights,
    moments,
    multistep,
    solver_moments,
)
from artifex.samplers.singlestep import Stage, singlestep
from artifex.samplers.steps import check_order, steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class DPMSolverPPSinglestep:
    r"""DPM-Solver++(1S), (2S) and (3S): ``order`` calls of the network per step.

    The network is called at $\lambda_a + r h$ with $r = 0$; $0, 1/2$; or $0, 1/3, 2/3$. Closed steps are of first
    order.

    Attributes:
        order: 1, 2 or 3.
        eta: scales the fresh noise, as in ``EulerAncestral``.

    Raises:
        ValueError: for another ``order``, or an ``eta`` that is negative or not finite.

    References: Lu et al. 2022, https://arxiv.org/abs/2211.01095
    """

    order: int = 2
    eta: float = 0.0

    def __post_init__(self) -> None:
        check_order(self.order, 3)
        check_number("eta", self.eta, 0)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """``order`` rows per step."""
        steps, noise = lower_ends(steps_along(schedule, times), self.eta)
        if self.order == 1:
            return singlestep(steps, [], noise=noise)
        if self.order == 2:
            gain = steps.b.alpha * (1 - steps.exp_neg_h)
            return singlestep(steps, [Stage(steps.between(schedule, 0.5), data=gain)], noise=noise)
        first, second = steps.between(schedule, 1 / 3), steps.between(schedule, 2 / 3)
        return singlestep(
            steps,
            [
                Stage(first, data=2 * second.alpha * moments(2 / 3 * steps.h, 1)[:, 0]),
                Stage(second, data=3 / 2 * steps.b.alpha * moments(steps.h, 1)[:, 0]),
            ],
            noise=noise,
        )


@dataclass(frozen=True)
class DPMSolverPPSDE:
    r"""Singlestep DPM-Solver++ for the reverse SDE, with fresh noise at the inner call too.

    The inner call is at $\lambda_a + r h$, reached by an ancestral step; with its prediction $D$ the whole step uses
    $D_a + \frac{1}{2r} (D - D_a)$. Both begin at ``a`` and draw independent noise.
    With ``eta = 0`` and $r = \tfrac12$ this is ``DPMSolverPPSinglestep(2)``. Closed steps are of first order.

    Attributes:
        eta: scales the fresh noise, as in ``EulerAncestral``.
        r: r, in (0, 1].

    Raises:
        ValueError: for ``r`` outside of that range, or an ``eta`` that is negative or not finite.

    References: Lu et al. 2022, https://arxiv.org/abs/2211.01095; Crowson 2022,
    https://github.com/crowsonkb/k-diffusion
    """

    eta: float = 1.0
    r: float = 0.5

    def __post_init__(self) -> None:
        check_number("eta", self.eta, 0)
        if not 0 < self.r <= 1:
            raise ValueError(f"r must be in (0, 1], got {self.r}")

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """Two rows per step."""
        whole = steps_along(schedule, times)
        steps, noise = lower_ends(whole, self.eta)
        kept = ancestral_fraction(np.exp(-self.r * whole.h), self.eta)
        gain = (steps.b.alpha - steps.a.alpha * steps.b.sigma / steps.a.sigma) / (2 * self.r)
        stage = Stage(whole.between(schedule, self.r), data=gain, noise_kept=kept)
        return singlestep(steps, [stage], single=~whole.finite, noise=noise)


@dataclass(frozen=True)
class DPMSolverPPMultistep:
    r"""DPM-Solver++(1M), (2M) and (3M), and with ``eta`` their SDE forms: one call per step.

    $$x_b = \frac{\sigma_b}{\sigma_a} e^{-\eta h} x_a + \alpha_b (M_0 D + M_1 D' + M_2 D'') +
      \sigma_b \sqrt{1 - e^{-2 \eta h}}\, z,\qquad
      M_m = k \int_0^1 e^{-(1-\tau) k} \tau^m d\tau,\quad k = (1 + \eta) h$$

    $D + D' \tau + D'' \tau^2$ is the polynomial through the last predictions, $\tau$ in steps of $\lambda$. At order 3
    $M_2 = 2 k \varphi_3(-k)$: the derivative that $\varphi_3$ multiplies is twice the divided difference. A widespread
    form omits the 2 and is of second order; ``diffusers_compat`` reproduces it.

    Closed steps and the first step are of first order, so without exact starting values the whole is of second order.

    Attributes:
        order: 1, 2 or 3.
        eta: 0 for the probability flow, 1 for the reverse SDE; every value preserves the marginals.
        solver_type: $M_1$ of second-order steps: $M_0 / 2$ for ``"midpoint"``, the integral for ``"heun"``.
        diffusers_compat: whether $M_2$ is halved, as in diffusers and k-diffusion.
        lower_order_final: whether the order falls to 1 over the last steps; None: only with fewer than 15 steps.
        euler_at_final: whether the last step alone is of first order.

    Raises:
        ValueError: for another ``order`` or ``solver_type``, or an ``eta`` that is negative or not finite.

    References: Lu et al. 2022, https://arxiv.org/abs/2211.01095
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
        integrals = solver_moments(
            (1 + self.eta) * steps.h, orders, self.order - 1, self.solver_type, self.diffusers_compat
        )
        older = steps.b.alpha[:, None] * difference_weights(steps.nodes(self.order - 1), integrals, orders)
        return multistep(steps, older, noise_kept=None if self.eta == 0 else steps.exp_neg_h**self.eta)
