"""The straight path from data to noise."""

import math
from dataclasses import dataclass

from artifex.kernels.ranges import check_positive
from artifex.schedules.arrays.array_api import HostArray, T, array_namespace, check_times, real
from artifex.schedules.grid.time import uniform
from artifex.schedules.level import NoiseLevel, level_at


@dataclass(frozen=True)
class RectifiedFlow:
    r"""$\sigma = \frac{s t}{1 + (s - 1) t}$, $\alpha = 1 - \sigma$; with $s = 1$ simply $\sigma = t$.

    The model time is $t$. A network whose model time is $\sigma$ (Stable Diffusion 3, FLUX) is sampled on
    ``RectifiedFlow()`` along ``grid.shifted``.

    Attributes:
        shift: $s$, positive; $\sigma / \alpha$ is ``shift`` times that of the unshifted path: larger values
            spend more of the time at high noise.

    Raises:
        ValueError: if ``shift`` is not positive.

    References: Liu et al. 2023, https://arxiv.org/abs/2209.03003; Lipman et al. 2023, https://arxiv.org/abs/2210.02747;
        the shift: Esser et al. 2024, https://arxiv.org/abs/2403.03206
    """

    shift: float = 1.0

    def __post_init__(self) -> None:
        check_positive("shift", self.shift)

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t`` in [0, 1]; 0 is clean data, 1 pure noise.

        Raises:
            ValueError: if a concrete time lies outside of that range.
        """
        xp = array_namespace(t)
        t = real(t)
        check_times(t, 0, 1)
        part = xp.clip(t, 0.0, 1.0)
        whole = 1 + (self.shift - 1) * part
        return level_at(t, (1 - part) / whole, self.shift * part / whole)

    def times(self, steps: int) -> HostArray:
        """The default grid: ``grid.uniform(steps)``, from 1 to 0.

        Raises:
            ValueError: if ``steps`` is less than 1.
        """
        return uniform(steps)

    def inverse_logsnr(self, logsnr: T) -> T:
        r"""$t = 1 / (1 + s\, e^{\lambda/2})$."""
        xp = array_namespace(logsnr)
        return xp.asarray(xp.exp(-xp.logaddexp(0.0, real(logsnr) / 2 + math.log(self.shift))))
