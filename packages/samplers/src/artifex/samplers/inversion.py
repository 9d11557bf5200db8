r"""DDIM inversion: from data to the noise from which DDIM generates it."""

from dataclasses import dataclass

import numpy as np

from artifex.kernels.ranges import check_whole
from artifex.samplers.steps import StepSequence, steps_along, take
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class DDIMInversion:
    r"""DDIM's steps in reverse order, with the network called at the noisier end ``a`` of each.

    $$x_a = \frac{\alpha_a}{\alpha_b} x_b + \Big(\sigma_a - \frac{\alpha_a}{\alpha_b} \sigma_b\Big)
      \hat\epsilon(x, a)$$

    With $x = x_a$ this inverts DDIM's step from ``a`` to ``b`` exactly. It is an implicit equation for $x_a$, solved by
    fixed-point iterations from $x = x_b$, so inversion may begin at clean data, where $\hat\epsilon$ is undefined.

    The times are those of DDIM, noise first; the run begins with data at the *last* of them.

    Attributes:
        iterations: fixed-point iterations, each one call of the network per step; at least 1, the common form.

    Raises:
        ValueError: if ``iterations`` is less than 1.

    References: Song et al. 2021, https://arxiv.org/abs/2010.02502; Dhariwal and Nichol 2021,
    https://arxiv.org/abs/2105.05233; Pan et al. 2023, https://arxiv.org/abs/2309.04907
    """

    iterations: int = 1

    def __post_init__(self) -> None:
        check_whole("iterations", self.iterations, 1)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """``iterations`` rows per step, the lowest noise first."""
        steps = steps_along(schedule, times)
        reverse = slice(None, None, -1)
        back = StepSequence(a=take(steps.b, reverse), b=take(steps.a, reverse), end=take(steps.a, 0))
        ratio = back.b.alpha / back.a.alpha
        drift = back.b.sigma - ratio * back.a.sigma
        slope = drift / back.b.sigma
        evaluate = np.zeros((len(back), self.iterations, 3))
        evaluate[..., 0], evaluate[..., 2] = slope[:, None], (-slope * back.b.alpha)[:, None]
        evaluate[:, 0, 0] += ratio
        evaluate[:, 1:, 1] = ratio[:, None]
        base = np.zeros_like(evaluate)
        base[:, 0, 0] = base[:, 1:, 1] = 1
        rows = np.repeat(np.arange(len(back)), self.iterations)
        return tabulate(take(back.b, rows), back.end, evaluate.reshape(-1, 3), base=base.reshape(-1, 3))
