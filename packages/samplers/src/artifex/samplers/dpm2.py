r"""DPM2: the midpoint method in the logarithm of the noise."""

from dataclasses import dataclass

from artifex.kernels.ranges import check_number
from artifex.samplers.euler_ancestral import lower_ends
from artifex.samplers.singlestep import Stage, singlestep
from artifex.samplers.steps import steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class DPM2:
    r"""Half a step in $\log(\sigma / \alpha)$, then the whole step with the slope at its end.

    $$x_b / \alpha_b = x_a / \alpha_a + (\rho_b - \rho_a)\, \hat\epsilon(\sqrt{\rho_a \rho_b}),\qquad
      \rho = \sigma / \alpha$$

    This is also DPM-Solver-2. Closed steps are Euler's. Order 2 with ``eta = 0``.

    Attributes:
        eta: scales the fresh noise, as in ``EulerAncestral``.

    Raises:
        ValueError: if ``eta`` is negative or not finite.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364; Lu et al. 2022, https://arxiv.org/abs/2206.00927
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        check_number("eta", self.eta, 0)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """Two rows per step."""
        steps, noise = lower_ends(steps_along(schedule, times), self.eta)
        return singlestep(steps, [Stage(steps.between(schedule, 0.5), noise=steps.drift)], noise=noise)
