r"""Variance-exploding paths: $\alpha = 1$, with growing noise."""

import math
from dataclasses import dataclass

from artifex.schedules.arrays.array_api import HostArray, T, array_namespace, check_times, real
from artifex.schedules.grid.noise import karras
from artifex.schedules.level import NoiseLevel, level_at


@dataclass(frozen=True)
class VE:
    r"""$\alpha = 1$, $\sigma = \sigma_\mathrm{min} (\sigma_\mathrm{max} / \sigma_\mathrm{min})^t$.

    The formula extends beyond $t \in [0, 1]$: clean data is at $t = -\infty$.

    Attributes:
        sigma_min: the noise at $t = 0$, positive.
        sigma_max: the noise at $t = 1$, above ``sigma_min``.

    Raises:
        ValueError: for values outside those ranges.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(
                f"sigmas must satisfy 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}"
            )

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t``, any number but NaN.

        Raises:
            ValueError: if a concrete time is NaN.
        """
        xp = array_namespace(t)
        t = real(t)
        check_times(t, -math.inf, math.inf)
        sigma = xp.exp(math.log(self.sigma_min) + t * math.log(self.sigma_max / self.sigma_min))
        return level_at(t, xp.ones_like(t), sigma)

    def times(self, steps: int) -> HostArray:
        r"""The default grid: Karras's levels from ``sigma_max`` to ``sigma_min``, then clean data.

        Raises:
            ValueError: if ``steps`` is less than 1.
        """
        return karras(self, steps, 1.0, 0.0)

    def inverse_logsnr(self, logsnr: T) -> T:
        r"""$(-\lambda/2 - \log\sigma_\mathrm{min}) / \log(\sigma_\mathrm{max} / \sigma_\mathrm{min})$."""
        xp = array_namespace(logsnr)
        rise = math.log(self.sigma_max / self.sigma_min)
        return xp.asarray((-real(logsnr) / 2 - math.log(self.sigma_min)) / rise)


@dataclass(frozen=True)
class EDM:
    r"""$\alpha = 1$, $\sigma = t$: the time is the noise level.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364
    """

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t``, at least 0; 0 is clean data.

        Raises:
            ValueError: if a concrete time is negative.
        """
        xp = array_namespace(t)
        t = real(t)
        check_times(t, 0, math.inf)
        return level_at(t, xp.ones_like(t), xp.maximum(t, 0.0))

    def times(self, steps: int, sigma_max: float = 80.0, sigma_min: float = 0.002) -> HostArray:
        """The default grid: Karras's levels from ``sigma_max`` to ``sigma_min``, then clean data.

        Args:
            steps: at least 1.
            sigma_max: the first level; the published 80 is for data of standard deviation 0.5.
            sigma_min: the last level at which the network is called, in (0, ``sigma_max``).

        Raises:
            ValueError: for values outside those ranges.
        """
        return karras(self, steps, sigma_max, sigma_min)

    def inverse_logsnr(self, logsnr: T) -> T:
        r"""$e^{-\lambda/2}$."""
        xp = array_namespace(logsnr)
        return xp.asarray(xp.exp(-real(logsnr) / 2))
