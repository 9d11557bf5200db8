r"""Heun's method and the midpoint method in the logarithm of the noise, with two calls of the network a step."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from artifex.samplers.euler import ancestral_share, check_eta
from artifex.samplers.singlestep import Stage, singlestep
from artifex.samplers.steps import StepSequence, steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import HostArray, NoiseLevel, Schedule

Frame = Literal["path", "ratio"]
r"""Where a method takes means: of $x$ along $(\alpha, \sigma)$, or of $x / \alpha$ along $\sigma / \alpha$."""


@dataclass(frozen=True)
class Heun:
    r"""Euler's step, then the same step with the mean of the slopes at its two ends.

    $$x_b = x_a + (\alpha_b - \alpha_a) \tfrac12 (\hat x_0^a + \hat x_0^b)
              + (\sigma_b - \sigma_a) \tfrac12 (\hat\epsilon^a + \hat\epsilon^b)$$

    So in the frame of the path: on variance-exploding levels EDM's method, on a straight path that of rectified flow,
    and at home on any other. The frame of the ratio takes the mean in $x / \alpha$ over $\sigma / \alpha$, where only
    $\hat\epsilon$ counts. A last step to clean data is Euler's. Order 2.

    Attributes:
        frame: ``"path"`` or ``"ratio"``.

    Raises:
        ValueError: for another ``frame``.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364
    """

    frame: Frame = "path"

    def __post_init__(self) -> None:
        if self.frame not in ("path", "ratio"):
            raise ValueError(f"frame must be 'path' or 'ratio', got {self.frame!r}")

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """Two rows a step."""
        steps = steps_along(schedule, times)
        if self.frame == "ratio":
            return singlestep(steps, [Stage(steps.b, noise=steps.drift / 2)])
        data, noise = (steps.b.alpha - steps.a.alpha) / 2, (steps.b.sigma - steps.a.sigma) / 2
        return singlestep(steps, [Stage(steps.b, data, noise)], single=steps.b.sigma == 0)


@dataclass(frozen=True)
class DPM2:
    r"""Half a step in $\log(\sigma / \alpha)$, then the whole step with the slope found there.

    $$x_b / \alpha_b = x_a / \alpha_a + (\rho_b - \rho_a)\, \hat\epsilon(\sqrt{\rho_a \rho_b}),\qquad
      \rho = \sigma / \alpha$$

    This is DPM-Solver-2 as well. Closed steps are Euler's. Order 2 where ``eta`` is 0.

    Attributes:
        eta: with fresh noise as ``EulerAncestral``'s where it is not 0: the step then ends lower, and noise is added.

    Raises:
        ValueError: if ``eta`` is negative or not finite.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364; Lu et al. 2022, https://arxiv.org/abs/2206.00927
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        check_eta(self.eta)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """Two rows a step."""
        steps, noise = descend(steps_along(schedule, times), self.eta)
        return singlestep(steps, [Stage(steps.between(schedule, 0.5), noise=steps.drift)], noise=noise)


def descend(steps: StepSequence, eta: float) -> tuple[StepSequence, HostArray | None]:
    """The path whose steps end as much lower as fresh noise brings them up again, and that noise."""
    if eta == 0:
        return steps, None
    share = ancestral_share(steps.shrink, eta)
    low = NoiseLevel(t=steps.b.t, alpha=steps.b.alpha, sigma=steps.b.sigma * share)
    return StepSequence(a=steps.a, b=low, end=steps.end), steps.b.sigma * np.sqrt((1 - share) * (1 + share))
