r"""Euler's method with fresh noise in every step, and helpers for other ancestral methods."""

from dataclasses import dataclass

import numpy as np

from artifex.kernels.ranges import check_number
from artifex.samplers.multistep import multistep
from artifex.samplers.steps import StepSequence, steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import NoiseLevel, Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class EulerAncestral:
    r"""Euler to a lower level, then fresh noise back up to the step's own.

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
        check_number("eta", self.eta, 0)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step."""
        steps = steps_along(schedule, times)
        return multistep(steps, noise_kept=ancestral_fraction(steps.exp_neg_h, self.eta))


def ancestral_fraction(exp_neg_h: HostArray, eta: float) -> HostArray:
    r"""The fraction of noise that an ancestral step keeps, $\rho_\downarrow / \rho_b$, from $\rho_b / \rho_a$."""
    kept: HostArray = np.sqrt(np.maximum(1 - eta**2 * (1 - exp_neg_h) * (1 + exp_neg_h), 0.0))
    return kept


def lower_ends(steps: StepSequence, eta: float) -> tuple[StepSequence, HostArray | None]:
    """Lower the end of each step by the fresh noise of an ancestral step; return the steps and that noise."""
    if eta == 0:
        return steps, None
    kept = ancestral_fraction(steps.exp_neg_h, eta)
    low = NoiseLevel(t=steps.b.t, alpha=steps.b.alpha, sigma=steps.b.sigma * kept)
    return StepSequence(a=steps.a, b=low, end=steps.end), steps.b.sigma * np.sqrt((1 - kept) * (1 + kept))
