r"""Beta tables: $\beta_i$ is the variance that step $i$ of the discrete chain adds, $i = 0 \dots n-1$.

Each function gives a float64 NumPy array of shape ``(n,)`` with values in [0, 1].
"""

import numpy as np

from artifex.schedules.namespace import Host


def linear(n: int, start: float = 1e-4, end: float = 0.02) -> Host:
    r"""$\beta_i = \beta_0 + (\beta_{n-1} - \beta_0)\, i / (n-1)$.

    Args:
        n: number of steps, at least 1.
        start: the first beta, in (0, 1).
        end: the last beta, in (0, 1), at least ``start``.

    Raises:
        ValueError: for values outside those ranges.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """
    _check_ends(n, start, end)
    return np.linspace(start, end, n)


def cosine(n: int, s: float = 0.008, cap: float = 0.999) -> Host:
    r"""$\beta_i = \min(1 - f(i+1)/f(i),\ \mathrm{cap})$ with $f(i) = \cos^2\!\frac{i/n + s}{1 + s}\frac{\pi}{2}$.

    Args:
        n: number of steps, at least 1.
        s: offset that keeps the first betas from being too small, at least 0.
        cap: the largest beta, in (0, 1).

    Raises:
        ValueError: for values outside those ranges.

    References: Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """
    check_count(n)
    if not (s >= 0 and 0 < cap < 1):
        raise ValueError(f"s must be at least 0 and cap in (0, 1), got s = {s} and cap = {cap}")
    f = np.cos((np.arange(n + 1) / n + s) / (1 + s) * np.pi / 2) ** 2
    out: Host = np.minimum(1 - f[1:] / f[:-1], cap)
    return out


def check_count(n: int) -> None:
    """Raises a ValueError unless there is at least one step."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")


def _check_ends(n: int, start: float, end: float) -> None:
    check_count(n)
    if not 0 < start <= end < 1:
        raise ValueError(f"betas must satisfy 0 < start <= end < 1, got start = {start} and end = {end}")
