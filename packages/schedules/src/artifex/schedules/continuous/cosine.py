"""The cosine path in continuous time."""

import math
from dataclasses import dataclass

from artifex.schedules.arrays.array_api import HostArray, T, array_namespace, check_times, real
from artifex.schedules.grid.time import uniform
from artifex.schedules.level import NoiseLevel, level_at


@dataclass(frozen=True)
class CosineVP:
    r"""$\alpha = \cos\theta$, $\sigma = \sin\theta$, $\theta = \theta_0 + t\, (\theta_1 - \theta_0)$.

    The log-SNR $-2 \log\tan\theta$ runs from ``logsnr_max`` at $t = 0$ to ``logsnr_min`` at $t = 1$. By
    default $\theta = \pi t / 2$, from clean data to pure noise.

    Attributes:
        logsnr_min: the log-SNR at $t = 1$; may be minus infinity.
        logsnr_max: the log-SNR at $t = 0$, above ``logsnr_min``; may be infinity.

    Raises:
        ValueError: if ``logsnr_min`` is not below ``logsnr_max``.

    References: Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672; Hoogeboom et al. 2023,
        https://arxiv.org/abs/2301.11093
    """

    logsnr_min: float = -math.inf
    logsnr_max: float = math.inf

    def __post_init__(self) -> None:
        if not self.logsnr_min < self.logsnr_max:
            raise ValueError(f"logsnr_min must be below logsnr_max, got {self.logsnr_min} and {self.logsnr_max}")

    @property
    def _angles(self) -> tuple[float, float]:
        r"""$\theta_0$ and $\pi / 2 - \theta_1$; the complement keeps its digits near 0."""
        return math.atan(math.exp(-self.logsnr_max / 2)), math.atan(math.exp(self.logsnr_min / 2))

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t`` in [0, 1].

        Raises:
            ValueError: if a concrete time lies outside of that range.
        """
        xp = array_namespace(t)
        t = real(t)
        check_times(t, 0, 1)
        part = xp.clip(t, 0.0, 1.0)
        first, left = self._angles
        span = math.pi / 2 - first - left
        return level_at(t, xp.sin(left + (1 - part) * span), xp.sin(first + part * span))

    def times(self, steps: int) -> HostArray:
        """The default grid: ``grid.uniform(steps)``, from 1 to 0.

        Raises:
            ValueError: if ``steps`` is less than 1.
        """
        return uniform(steps)

    def inverse_logsnr(self, logsnr: T) -> T:
        r"""$(\arctan e^{-\lambda/2} - \theta_0) / (\theta_1 - \theta_0)$; the nearest end beyond it."""
        xp = array_namespace(logsnr)
        first, left = self._angles
        angle = xp.arctan(xp.exp(xp.minimum(-real(logsnr) / 2, 80.0)))
        return xp.asarray(xp.clip((angle - first) / (math.pi / 2 - first - left), 0.0, 1.0))
