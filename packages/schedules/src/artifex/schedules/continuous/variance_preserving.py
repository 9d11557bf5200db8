r"""The paths of a linear $\beta(t)$: variance-preserving and sub-variance-preserving.

Both share $B(t) = \int_0^t \beta = \beta_\mathrm{min} t + (\beta_\mathrm{max} - \beta_\mathrm{min})\, t^2 / 2$,
with $t$ in [0, 1].

References: Song et al. 2021, https://arxiv.org/abs/2011.13456
"""

from dataclasses import dataclass

from artifex.schedules.arrays.array_api import HostArray, T, array_namespace, check_times, real
from artifex.schedules.grid.time import uniform
from artifex.schedules.level import NoiseLevel, level_at


@dataclass(frozen=True)
class VP:
    r"""$\alpha = e^{-B/2}$, $\sigma = \sqrt{1 - e^{-B}}$: the continuous limit of DDPM's chain.

    Attributes:
        beta_min: $\beta(0)$, positive.
        beta_max: $\beta(1)$, at least ``beta_min``.

    Raises:
        ValueError: for values outside those ranges.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        check_rates(self.beta_min, self.beta_max)

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t`` in [0, 1]; 0 is clean data.

        Raises:
            ValueError: if a concrete time lies outside of that range.
        """
        xp = array_namespace(t)
        t = real(t)
        total = integral(t, self.beta_min, self.beta_max)
        return level_at(t, xp.exp(-total / 2), xp.sqrt(-xp.expm1(-total)))

    def times(self, steps: int) -> HostArray:
        """The default grid: ``grid.uniform(steps)``, from 1 to 0.

        Raises:
            ValueError: if ``steps`` is less than 1.
        """
        return uniform(steps)

    def inverse_logsnr(self, logsnr: T) -> T:
        r"""The time with this log-SNR, where $B = \log(1 + e^{-\lambda})$; the nearest end beyond it."""
        xp = array_namespace(logsnr)
        return inverse_integral(xp.asarray(xp.logaddexp(0.0, -real(logsnr))), self.beta_min, self.beta_max)


@dataclass(frozen=True)
class SubVP:
    r"""$\alpha = e^{-B/2}$, $\sigma = 1 - e^{-B}$: the variance is below 1 and lowest in the middle.

    Attributes:
        beta_min: $\beta(0)$, positive.
        beta_max: $\beta(1)$, at least ``beta_min``.

    Raises:
        ValueError: for values outside those ranges.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        check_rates(self.beta_min, self.beta_max)

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t`` in [0, 1]; 0 is clean data.

        Raises:
            ValueError: if a concrete time lies outside of that range.
        """
        xp = array_namespace(t)
        t = real(t)
        total = integral(t, self.beta_min, self.beta_max)
        return level_at(t, xp.exp(-total / 2), -xp.expm1(-total))

    def times(self, steps: int) -> HostArray:
        """The default grid: ``grid.uniform(steps)``, from 1 to 0.

        Raises:
            ValueError: if ``steps`` is less than 1.
        """
        return uniform(steps)

    def inverse_logsnr(self, logsnr: T) -> T:
        r"""The time with this log-SNR, where $2 \sinh(B/2) = e^{-\lambda/2}$; the nearest end beyond it."""
        xp = array_namespace(logsnr)
        # no path falls below the log-SNR of t = 1, so the exponential may be clipped to the range of every dtype
        sinh = xp.exp(xp.minimum(-real(logsnr) / 2, 80.0)) / 2
        return inverse_integral(xp.asarray(2 * xp.arcsinh(sinh)), self.beta_min, self.beta_max)


def check_rates(beta_min: float, beta_max: float) -> None:
    """Raise a ValueError unless ``0 < beta_min <= beta_max``."""
    if not 0 < beta_min <= beta_max < float("inf"):
        raise ValueError(f"betas must satisfy 0 < beta_min <= beta_max, got {beta_min} and {beta_max}")


def integral(t: T, beta_min: float, beta_max: float) -> T:
    """$B(t)$ with ``t`` checked, or if traced clipped, to [0, 1]."""
    check_times(t, 0, 1)
    xp = array_namespace(t)
    t = xp.clip(t, 0.0, 1.0)
    return xp.asarray(t * (beta_min + 0.5 * (beta_max - beta_min) * t))


def inverse_integral(total: T, beta_min: float, beta_max: float) -> T:
    r"""$t$ from $B$: the positive root of the quadratic, in the form without cancellation near 0."""
    xp = array_namespace(total)
    total = xp.minimum(total, 0.5 * (beta_min + beta_max))
    return xp.asarray(2 * total / (beta_min + xp.sqrt(beta_min**2 + 2 * (beta_max - beta_min) * total)))
