r"""Euler's method on the probability-flow equation."""

from dataclasses import dataclass

from artifex.samplers.multistep import multistep
from artifex.samplers.steps import steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class Euler:
    r"""Follow the tangent: $\hat x_0$ and $\hat\epsilon$ are constant over the step.

    $$x_b = x_a + (\alpha_b - \alpha_a) \hat x_0 + (\sigma_b - \sigma_a) \hat\epsilon$$

    The same step as Euler's in $x / \alpha$ over $\sigma / \alpha$, as Euler's over a rectified flow's time, and as
    DDIM's. Order 1.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364; Liu et al. 2023, https://arxiv.org/abs/2209.03003
    """

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step."""
        return multistep(steps_along(schedule, times))
