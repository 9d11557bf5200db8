"""Grids spaced in time, for any schedule."""

from collections.abc import Callable

import numpy as np

from artifex.kernels.ranges import check_number, check_positive, check_whole
from artifex.schedules.arrays.array_api import HostArray
from artifex.schedules.level import Schedule


def uniform(k: int, start: float = 1.0, end: float = 0.0) -> HostArray:
    r"""$t_i = \mathrm{start} + (\mathrm{end} - \mathrm{start})\, i / k$, $i = 0 \dots k$.

    Args:
        k: steps, at least 1.
        start: the first time.
        end: the last time, below ``start``.

    Raises:
        ValueError: for values outside those ranges.
    """
    check_whole("steps", k, 1)
    _check_span(start, end)
    return np.linspace(start, end, k + 1)


def beta(k: int, start: float = 1.0, end: float = 0.0, *, a: float = 0.6, b: float = 0.6) -> HostArray:
    r"""$t_i = \mathrm{end} + (\mathrm{start} - \mathrm{end})\, F^{-1}_{\mathrm{Beta}(a, b)}(1 - i/k)$.

    With both shapes below 1 the times are dense at both ends.

    Args:
        k: steps, at least 1.
        start: the first time.
        end: the last time, below ``start``.
        a: shape towards the data, positive.
        b: shape towards the noise, positive.

    Raises:
        ValueError: for values outside those ranges.

    References: Lee et al. 2024, https://arxiv.org/abs/2407.12173
    """
    from scipy.special import betaincinv  # type: ignore[import-untyped]  # slow to import, and used only here

    check_whole("steps", k, 1)
    _check_span(start, end)
    check_positive("a", a)
    check_positive("b", b)
    quantile: HostArray = np.asarray(betaincinv(a, b, np.linspace(1, 0, k + 1)), np.float64)
    return end + (start - end) * quantile


def shifted(times: HostArray, shift: float) -> HostArray:
    r"""$t' = s t / (1 + (s - 1) t)$, for times in [0, 1]: the grid of a flow model at higher resolution.

    Args:
        times: a grid.
        shift: $s$, positive: 3 for Stable Diffusion 3, $e^\mu$ for FLUX with $\mu$ by resolution.

    Raises:
        ValueError: for values outside those ranges.

    References: Esser et al. 2024, https://arxiv.org/abs/2403.03206
    """
    times = np.asarray(times, np.float64)
    check_positive("shift", shift)
    if not (times.size and times.min() >= 0 and times.max() <= 1):
        raise ValueError(f"times must be in [0, 1], got {times}")
    out: HostArray = np.minimum(shift * times / (1 + (shift - 1) * times), 1.0)  # rounding must not exceed 1
    return out


def custom(schedule: Schedule, times: HostArray) -> HostArray:
    """Check times of the caller's choice: they must run from noise to data.

    Args:
        schedule: the schedule of the times.
        times: ``(k + 1,)``, noise first.

    Raises:
        ValueError: for fewer than two times, times outside of the schedule's range, or a log-SNR that does not rise.
    """
    times = np.array(times, np.float64)
    if times.ndim != 1 or times.size < 2:
        raise ValueError(f"times must be of shape (steps + 1,) with at least one step, got {times.shape}")
    check_unit(schedule, times)
    logsnr = schedule.at(times).logsnr
    for i in range(len(times) - 1):
        if not logsnr[i + 1] > logsnr[i]:
            raise ValueError(
                f"times must run from noise to data, got {times[i]:g} and then {times[i + 1]:g} at indices {i} and "
                f"{i + 1}, where the log-SNR goes from {logsnr[i]:.6g} to {logsnr[i + 1]:.6g}"
            )
    return times


def check_unit(schedule: Schedule, times: HostArray) -> None:
    r"""Raise a ValueError for times that must be in the unit of another schedule.

    These are times that the schedule's ``check_grid``, if it has one, rejects, and levels of $2^{24}$ and more, at
    which float32 loses the data: usually a $\sigma$ passed as a time.
    """
    check: Callable[[HostArray], None] | None = getattr(schedule, "check_grid", None)
    if check is not None:
        check(times)
    with np.errstate(over="ignore"):
        most = np.max(schedule.at(times).sigma)
    if not most < 2.0**24:
        raise ValueError(
            f"times must be in the schedule's own unit, got values from {times.max():g} to {times.min():g}, where "
            f"sigma is up to {most:.3g}: take schedule.times(steps)"
        )


def _check_span(start: float, end: float) -> None:
    check_number("start", start)
    check_number("end", end)
    if not end < start:
        raise ValueError(f"end must be below start, got start = {start} and end = {end}")
