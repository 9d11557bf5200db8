r"""Multistep sampling of consistency models."""

from dataclasses import dataclass

import numpy as np

from artifex.kernels.ranges import check_number
from artifex.samplers.steps import steps_along
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class MultistepConsistency:
    r"""Predict $x_0$, add fresh noise, repeat: $x_b = \alpha_b (\hat x_0 + \sqrt{\rho_b^2 - \rho_0^2}\, z)$.

    Here $\rho = \sigma / \alpha$. With $\rho_0 = 0$ this is the sampler of latent consistency models.

    Attributes:
        sigma_min: $\rho_0$, the noise left in a prediction, at least 0.

    Raises:
        ValueError: if ``sigma_min`` is negative.

    References: Song et al. 2023, https://arxiv.org/abs/2303.01469; Luo et al. 2023, https://arxiv.org/abs/2310.04378
    """

    sigma_min: float = 0.0

    def __post_init__(self) -> None:
        check_number("sigma_min", self.sigma_min, 0)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step."""
        steps = steps_along(schedule, times)
        zero = np.zeros(len(steps))
        noise = np.sqrt(np.maximum(steps.b.sigma**2 - (steps.b.alpha * self.sigma_min) ** 2, 0.0))
        return tabulate(steps.a, steps.end, np.column_stack([zero, zero, steps.b.alpha]), noise)
