r"""DDPM: ancestral sampling from the posterior of the chain."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from artifex.samplers.steps import steps_along
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray

VarianceType = Literal["fixed_small", "fixed_large", "learned_range"]
"""The variance of an ancestral step, in the words of diffusers."""


@dataclass(frozen=True)
class DDPM:
    r"""Draw each step from the posterior $q(x_s \mid x_t, \hat x_0)$ of the chain.

    $$\alpha_{ts} = \alpha_t / \alpha_s,\quad \beta = \sigma_t^2 - \alpha_{ts}^2 \sigma_s^2,\qquad
      x_s = \frac{\alpha_s \beta}{\sigma_t^2} \hat x_0 + \frac{\alpha_{ts} \sigma_s^2}{\sigma_t^2} x_t + s z$$

    The variance is $s^2 = \beta \sigma_s^2 / \sigma_t^2$ (fixed_small: the posterior's) or $s^2 = \beta$
    (fixed_large). On a part of a discrete chain's times this is the posterior of the sub-sequence. A step to clean data
    adds no noise.

    With learned_range, $\log s^2$ is interpolated between the two at $(v + 1) / 2$, elementwise, and extrapolated for
    $v$ outside of [-1, 1]; the denoiser must return $[x_0, v]$.

    Attributes:
        variance_type: ``"fixed_small"``, ``"fixed_large"`` or ``"learned_range"``, as in diffusers.

    Raises:
        ValueError: for another ``variance_type``.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239; Kingma et al. 2021, https://arxiv.org/abs/2107.00630;
    Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """

    variance_type: VarianceType = "fixed_small"

    def __post_init__(self) -> None:
        if self.variance_type not in ("fixed_small", "fixed_large", "learned_range"):
            raise ValueError(
                f"variance_type must be 'fixed_small', 'fixed_large' or 'learned_range', got {self.variance_type!r}"
            )

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step, over ``x_e`` and the newest $x_0$."""
        steps = steps_along(schedule, times)
        t, alpha, sigma = steps.a, steps.b.alpha, steps.b.sigma
        ratio = t.alpha / alpha
        beta = t.sigma**2 - (ratio * sigma) ** 2
        keep = ratio * (sigma / t.sigma) ** 2
        evaluate = np.stack([keep, np.zeros_like(keep), alpha * beta / t.sigma**2], axis=1)
        small, large = np.sqrt(beta) * sigma / t.sigma, np.where(sigma > 0, np.sqrt(beta), 0.0)
        if self.variance_type == "learned_range":
            stretch = -np.log(np.where(sigma > 0, sigma / t.sigma, 1.0))
            return tabulate(t, steps.end, evaluate, noise=small, stretch=stretch)
        return tabulate(t, steps.end, evaluate, noise=small if self.variance_type == "fixed_small" else large)
