r"""LMS: the Adams-Bashforth method on the noise, over $\rho = \sigma / \alpha$.

$$x_b / \alpha_b = x_a / \alpha_a + \int_{\rho_a}^{\rho_b} \hat\epsilon\, d\rho$$
"""

from dataclasses import dataclass

import numpy as np

from artifex.samplers.multistep import adams_bashforth
from artifex.samplers.steps import check_order, steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class LMS:
    r"""The polynomial in $\rho$ through the last predictions, integrated exactly, up to clean data.

    Attributes:
        order: 1 to 4.

    Raises:
        ValueError: for another ``order``.

    References: Liu et al. 2022, https://arxiv.org/abs/2202.09778; Zhang and Chen 2023, https://arxiv.org/abs/2204.13902
    """

    order: int = 4

    def __post_init__(self) -> None:
        check_order(self.order, 4)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step."""
        steps = steps_along(schedule, times)
        powers = np.arange(1, self.order)
        integrals = np.broadcast_to(1 / (powers + 1), (len(steps), self.order - 1))
        width = np.where(steps.a.alpha > 0, steps.drift / steps.b.alpha, 1.0)
        return adams_bashforth(steps, self.order, steps.rho, width, integrals)
