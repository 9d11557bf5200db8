r"""Grids spaced by noise level, over any schedule: times follow from its ``inverse_logsnr``.

Here $\sigma$ is the ratio $\sigma / \alpha$, which does not depend on the scale of the path. ``start`` and ``end`` are
times with a finite log-SNR. With ``clean`` the ``k`` calls of the network span ``start`` to ``end`` and the last step
goes on to clean data; without it, ``k`` steps go from ``start`` to ``end``.
"""

from collections.abc import Callable

import numpy as np

from artifex.kernels.ranges import check_positive, check_whole
from artifex.schedules.arrays.array_api import HostArray
from artifex.schedules.level import Schedule


def karras(schedule: Schedule, k: int, start: float, end: float, *, rho: float = 7.0, clean: bool = True) -> HostArray:
    r"""$\sigma_i^{1/\rho}$ falls linearly from that of ``start`` to that of ``end``.

    Args:
        schedule: the schedule of the times.
        k: steps, at least 1.
        start: the first time.
        end: the last time at which the network is called with ``clean``, else the end of the grid.
        rho: positive; larger values concentrate the times near the data.
        clean: whether a last step to clean data is added.

    Raises:
        ValueError: for values outside those ranges.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364
    """
    check_positive("rho", rho)

    def spaced(first: float, last: float, u: HostArray) -> HostArray:
        root = np.exp(-first / (2 * rho)) * (1 - u) + np.exp(-last / (2 * rho)) * u
        out: HostArray = -2 * rho * np.log(root)
        return out

    return _between(schedule, k, start, end, clean, spaced)


def logsnr_uniform(schedule: Schedule, k: int, start: float, end: float, *, clean: bool = True) -> HostArray:
    r"""The log-SNR, and with it $\log\sigma_i$, is linear between ``start`` and ``end``.

    Args:
        schedule: the schedule of the times.
        k: steps, at least 1.
        start: the first time.
        end: the last time at which the network is called with ``clean``, else the end of the grid.
        clean: whether a last step to clean data is added.

    Raises:
        ValueError: for values outside those ranges.

    References: Lu et al. 2022, https://arxiv.org/abs/2206.00927
    """
    return _between(schedule, k, start, end, clean, lambda first, last, u: first + (last - first) * u)


exponential = logsnr_uniform
"""``logsnr_uniform`` by its name in k-diffusion."""


def from_sigmas(schedule: Schedule, sigmas: HostArray) -> HostArray:
    r"""The times at which the schedule has these $\sigma / \alpha$.

    Args:
        schedule: the schedule of the times.
        sigmas: ``(k + 1,)``, falling, at least 0; 0 is clean data.

    Raises:
        ValueError: for values outside those ranges.
    """
    sigmas = np.asarray(sigmas, np.float64)
    if sigmas.ndim != 1 or sigmas.size < 2:
        raise ValueError(f"sigmas must be of shape (steps + 1,) with at least one step, got {sigmas.shape}")
    if not (np.all(np.diff(sigmas) < 0) and sigmas[-1] >= 0 and np.isfinite(sigmas[0])):
        raise ValueError(f"sigmas must be finite and fall, to 0 at the least, got {sigmas}")
    logsnr = np.where(sigmas > 0, -2 * np.log(np.where(sigmas > 0, sigmas, 1)), np.inf)
    return schedule.inverse_logsnr(logsnr)


def _between(
    schedule: Schedule,
    k: int,
    start: float,
    end: float,
    clean: bool,
    spaced: Callable[[float, float, HostArray], HostArray],
) -> HostArray:
    check_whole("steps", k, 1)
    first, last = schedule.at(np.asarray([start, end], np.float64)).logsnr
    if not (np.isfinite(first) and np.isfinite(last) and first < last):
        raise ValueError(
            f"the log-SNR must be finite and rise from start to end, got {first:.6g} at {start} and {last:.6g} at {end}"
        )
    points = k if clean else k + 1
    u = np.linspace(0, 1, points)
    times = schedule.inverse_logsnr(spaced(first, last, u))
    times[0] = start  # exact ends, without the rounding of the logarithm
    if points > 1:
        times[-1] = end
    return np.append(times, schedule.inverse_logsnr(np.asarray([np.inf]))) if clean else times
