r"""Euler's method on the probability-flow equation, and its ancestral form."""

from dataclasses import dataclass

import numpy as np

from artifex.samplers.multistep import multistep
from artifex.samplers.steps import steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import HostArray, Schedule


@dataclass(frozen=True)
class Euler:
    r"""Follows the tangent, with $\hat x_0$ and $\hat\epsilon$ as they are at the start of the step.

    $$x_b = x_a + (\alpha_b - \alpha_a) \hat x_0 + (\sigma_b - \sigma_a) \hat\epsilon$$

    In $x / \alpha$ over $\sigma / \alpha$, in $x$ over a rectified flow's time, and as DDIM this is one and the same.
    Order 1.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364; Liu et al. 2023, https://arxiv.org/abs/2209.03003
    """

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row a step."""
        return multistep(steps_along(schedule, times))


@dataclass(frozen=True)
class EulerAncestral:
    r"""Euler to a lower level, and fresh noise back up to the one that is due.

    $$\rho_\uparrow = \min\Big(\rho_b,\ \eta \rho_b \sqrt{1 - \rho_b^2 / \rho_a^2}\Big),\quad
      \rho_\downarrow^2 = \rho_b^2 - \rho_\uparrow^2,\quad
      x_b / \alpha_b = \hat x_0 + \rho_\downarrow \hat\epsilon + \rho_\uparrow z,\qquad \rho = \sigma / \alpha$$

    Attributes:
        eta: scales the fresh noise, at least 0; 1 draws from the posterior, as DDPM does.

    Raises:
        ValueError: if ``eta`` is negative or not finite.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364; Song et al. 2021,
    https://arxiv.org/abs/2010.02502
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        check_eta(self.eta)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row a step."""
        steps = steps_along(schedule, times)
        return multistep(steps, share=ancestral_share(steps.shrink, self.eta))


def ancestral_share(shrink: HostArray, eta: float) -> HostArray:
    r"""How much of the old noise an ancestral step keeps: $\rho_\downarrow / \rho_b$, from $\rho_b / \rho_a$."""
    share: HostArray = np.sqrt(np.maximum(1 - eta**2 * (1 - shrink) * (1 + shrink), 0.0))
    return share


def check_eta(eta: float) -> None:
    """Raises a ValueError unless ``eta`` is finite and at least 0."""
    if not 0 <= eta < np.inf:
        raise ValueError(f"eta must be finite and at least 0, got {eta}")
