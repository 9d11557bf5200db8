r"""Grids of a discrete chain: ``k`` of its ``n`` steps, then ``end``.

``end`` is -1, clean data, except for models tuned to stop before it: those of Stable Diffusion with
``set_alpha_to_one = False`` end at 0.
"""

from typing import Final

import numpy as np

from artifex.kernels.ranges import check_whole
from artifex.schedules.arrays.array_api import HostArray

CLEAN: Final = -1.0


def all_steps(n: int) -> HostArray:
    """All ``n`` steps of a discrete chain: ``n - 1``, ``n - 2`` ... 0, -1.

    Raises:
        ValueError: if ``n`` is less than 1.
    """
    check_whole("n", n, 1)
    return np.arange(n - 1, -2, -1, dtype=np.float64)


def leading(n: int, k: int, offset: int = 0, end: float = CLEAN) -> HostArray:
    r"""$t_i = i \lfloor n / k \rfloor + \mathrm{offset}$, the largest first, then ``end``.

    Args:
        n: steps of the chain.
        k: steps to keep, in [1, n].
        offset: added to every time, so that all lie in [0, n - 1]; 1 for Stable Diffusion.
        end: the last time of the grid, below all others.

    Raises:
        ValueError: for values outside those ranges.

    References: Song et al. 2021, https://arxiv.org/abs/2010.02502
    """
    _check_steps(n, k)
    check_whole("offset", offset, 0, n - 1)
    return _finish(np.arange(k, dtype=np.float64) * (n // k) + offset, n, end)


def trailing(n: int, k: int, end: float = CLEAN) -> HostArray:
    r"""$t_i = \mathrm{round}(n - i\, n / k) - 1$, counted from the noisy end, then ``end``.

    Args:
        n: steps of the chain.
        k: steps to keep, in [1, n].
        end: the last time of the grid, below all others.

    Raises:
        ValueError: for values outside those ranges.

    References: Lin et al. 2024, https://arxiv.org/abs/2305.08891
    """
    _check_steps(n, k)
    return _finish(np.round(n - np.arange(k) * (n / k))[::-1] - 1, n, end)


def linspace(n: int, k: int, end: float = CLEAN, *, whole: bool = True) -> HostArray:
    r"""$t_i = i\, (n - 1) / (k - 1)$, both ends of the chain included, then ``end``; one step is $n - 1$.

    Args:
        n: steps of the chain.
        k: steps to keep, in [1, n].
        end: the last time of the grid, below all others.
        whole: whether times are rounded to integers.

    Raises:
        ValueError: for values outside those ranges.
    """
    _check_steps(n, k)
    rising = np.linspace(0, n - 1, k) if k > 1 else np.array([n - 1.0])
    return _finish(np.round(rising) if whole else rising, n, end)


def quadratic(n: int, k: int, end: float = CLEAN) -> HostArray:
    r"""Distinct times spaced as $(n-1)(i/(k-1))^2$, dense near the data, then ``end``; one step is $n - 1$.

    Args:
        n: steps of the chain.
        k: steps to keep, in [1, n].
        end: the last time of the grid, below all others.

    Raises:
        ValueError: for values outside those ranges.

    References: Song et al. 2021, https://arxiv.org/abs/2010.02502
    """
    _check_steps(n, k)
    rising = np.floor((n - 1) * np.linspace(0, 1, k) ** 2) if k > 1 else np.array([n - 1.0])
    # squares collide near 0: make the times rise strictly, and leave room for the later ones
    rising = np.maximum.accumulate(rising - np.arange(k)) + np.arange(k)
    rising = np.minimum(rising, n - k + np.arange(k))
    return _finish(rising, n, end)


def _check_steps(n: int, k: int) -> None:
    check_whole("n", n, 1)
    check_whole("steps", k, 1, n)


def _finish(rising: HostArray, n: int, end: float) -> HostArray:
    """Check the times and return them noise first, then the end."""
    if not (rising[0] >= 0 and rising[-1] <= n - 1):
        raise ValueError(f"times must be in [0, {n - 1}], got {rising[0]:g} to {rising[-1]:g}: choose another offset")
    if not CLEAN <= end < rising[0]:
        raise ValueError(f"end must be in [-1, {rising[0]:g}), below the last time, got {end}")
    return np.append(rising[::-1], end)
