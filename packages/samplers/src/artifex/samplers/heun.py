r"""Heun's method on the probability-flow equation."""

from dataclasses import dataclass
from typing import Literal

from artifex.samplers.singlestep import Stage, singlestep
from artifex.samplers.steps import steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray

Parametrization = Literal["path", "ratio"]
r"""The variables whose slopes are averaged: $x$ over $(\alpha, \sigma)$, or $x / \alpha$ over $\sigma / \alpha$."""


@dataclass(frozen=True)
class Heun:
    r"""Euler's step, then the same step with the mean of the slopes at its two ends.

    $$x_b = x_a + (\alpha_b - \alpha_a) \tfrac12 (\hat x_0^a + \hat x_0^b)
              + (\sigma_b - \sigma_a) \tfrac12 (\hat\epsilon^a + \hat\epsilon^b)$$

    This is the parametrization ``"path"``: EDM's method on variance-exploding levels, Heun's for rectified flow on a
    straight path, and defined on any other. ``"ratio"`` averages in $x / \alpha$ over $\sigma / \alpha$, where only
    $\hat\epsilon$ enters. A last step to clean data is Euler's. Order 2.

    Attributes:
        parametrization: ``"path"`` or ``"ratio"``.

    Raises:
        ValueError: for another ``parametrization``.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364
    """

    parametrization: Parametrization = "path"

    def __post_init__(self) -> None:
        if self.parametrization not in ("path", "ratio"):
            raise ValueError(f"parametrization must be 'path' or 'ratio', got {self.parametrization!r}")

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """Two rows per step."""
        steps = steps_along(schedule, times)
        if self.parametrization == "ratio":
            return singlestep(steps, [Stage(steps.b, noise=steps.drift / 2)])
        data, noise = (steps.b.alpha - steps.a.alpha) / 2, (steps.b.sigma - steps.a.sigma) / 2
        return singlestep(steps, [Stage(steps.b, data, noise)], single=steps.b.sigma == 0)
