"""A schedule shifted to data of another resolution."""

import math
from dataclasses import dataclass

from artifex.kernels.ranges import check_positive
from artifex.schedules.arrays.array_api import HostArray, T, array_namespace, real
from artifex.schedules.grid.time import check_unit
from artifex.schedules.level import NoiseLevel, Schedule, level_at


@dataclass(frozen=True)
class Shifted:
    r"""A schedule with $\sigma / \alpha$ multiplied by ``factor`` at every time.

    $$\lambda'(t) = \lambda(t) - 2 \log \mathrm{factor}$$

    An image with sides ``factor`` times as long, averaged down to the resolution of the inner schedule, then has that
    schedule's log-SNR. The path is the same curve of $(\alpha, \sigma)$ at other times, so variance-preserving paths
    stay so and straight ones stay straight: ``Shifted(RectifiedFlow(), s)`` is ``RectifiedFlow(s)``. Beyond an end of
    the curve $\alpha^2 + \sigma^2$ keeps its value at that end.

    Attributes:
        schedule: the inner schedule.
        factor: positive; above 1 for larger images.

    Raises:
        ValueError: if ``factor`` is not positive.

    References: Hoogeboom et al. 2023, https://arxiv.org/abs/2301.11093; Esser et al. 2024,
        https://arxiv.org/abs/2403.03206
    """

    schedule: Schedule
    factor: float

    def __post_init__(self) -> None:
        check_positive("factor", self.factor)

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t`` of the inner schedule.

        Raises:
            ValueError: as the inner schedule.
        """
        xp = array_namespace(t)
        t = real(t)
        logsnr = xp.asarray(self.schedule.at(t).logsnr - 2 * math.log(self.factor))
        curve = self.schedule.at(self.schedule.inverse_logsnr(logsnr))
        length = xp.hypot(curve.alpha, curve.sigma)
        alpha, sigma = xp.exp(-0.5 * xp.logaddexp(0.0, -logsnr)), xp.exp(-0.5 * xp.logaddexp(0.0, logsnr))
        return level_at(t, length * alpha, length * sigma)

    def times(self, steps: int) -> HostArray:
        """The default grid of the inner schedule.

        Raises:
            ValueError: as the inner schedule.
        """
        return self.schedule.times(steps)

    def check_grid(self, times: HostArray) -> None:
        """As the inner schedule."""
        check_unit(self.schedule, times)

    def inverse_logsnr(self, logsnr: T) -> T:
        """The time with this log-SNR; the nearest end beyond it."""
        xp = array_namespace(logsnr)
        return self.schedule.inverse_logsnr(xp.asarray(real(logsnr) + 2 * math.log(self.factor)))
