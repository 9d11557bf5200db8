"""Another schedule, for data of another size."""

import math
from dataclasses import dataclass

from artifex.kernels.ranges import check_positive
from artifex.schedules.arrays.array_api import HostArray, T, array_namespace, real
from artifex.schedules.grid.time import check_unit
from artifex.schedules.level import NoiseLevel, Schedule, level_at


@dataclass(frozen=True)
class Shifted:
    r"""Any schedule with more noise at every time: $\sigma / \alpha$ is ``factor`` times as large.

    $$\lambda'(t) = \lambda(t) - 2 \log \mathrm{factor}$$

    An image of ``factor`` times the side, averaged down to the side that the schedule was made for, then has that
    schedule's log-SNR. The path stays the same curve of $(\alpha, \sigma)$, run through at other times, so a
    variance-preserving one stays so and a straight one stays straight: ``Shifted(RectifiedFlow(), s)`` is
    ``RectifiedFlow(s)``. Past an end of the curve $\alpha^2 + \sigma^2$ is kept as it is at that end.

    Attributes:
        schedule: the one inside.
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
        """The level at time ``t`` of the schedule inside.

        Raises:
            ValueError: as the schedule inside.
        """
        xp = array_namespace(t)
        t = real(t)
        logsnr = xp.asarray(self.schedule.at(t).logsnr - 2 * math.log(self.factor))
        curve = self.schedule.at(self.schedule.inverse_logsnr(logsnr))
        length = xp.hypot(curve.alpha, curve.sigma)
        alpha, sigma = xp.exp(-0.5 * xp.logaddexp(0.0, -logsnr)), xp.exp(-0.5 * xp.logaddexp(0.0, logsnr))
        return level_at(t, length * alpha, length * sigma)

    def times(self, steps: int) -> HostArray:
        """The own grid of the schedule inside, at whose times this one has more noise.

        Raises:
            ValueError: as the schedule inside.
        """
        return self.schedule.times(steps)

    def check_grid(self, times: HostArray) -> None:
        """As the schedule inside."""
        check_unit(self.schedule, times)

    def inverse_logsnr(self, logsnr: T) -> T:
        """The time with this log-SNR; the nearest end beyond the path's own."""
        xp = array_namespace(logsnr)
        return self.schedule.inverse_logsnr(xp.asarray(real(logsnr) + 2 * math.log(self.factor)))
