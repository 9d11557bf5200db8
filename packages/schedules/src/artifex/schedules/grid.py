r"""Grids: the times at which a sampler calls the network, and the one where it ends.

A grid of ``k`` steps is a float64 NumPy array of ``k + 1`` times, noise first; the last time is where the walk ends,
and no network is called there. On the discrete chain the end is -1, clean data.
"""

import numpy as np

from artifex.schedules.namespace import Host


def every(n: int) -> Host:
    """All ``n`` steps of a discrete chain: ``n - 1``, ``n - 2`` ... 0, -1."""
    return np.arange(n - 1, -2, -1, dtype=np.float64)


def trailing(n: int, k: int) -> Host:
    r"""``k`` of ``n`` discrete steps counted from the noisy end: $t_i = \mathrm{round}(n - i\, n / k) - 1$, then -1.

    Args:
        n: steps of the chain.
        k: steps to keep, in [1, n].

    Raises:
        ValueError: for ``k`` outside of that range.

    References: Lin et al. 2024, https://arxiv.org/abs/2305.08891
    """
    check_steps(n, k)
    return np.append(np.round(n - np.arange(k) * (n / k)) - 1, -1.0)


def quadratic(n: int, k: int) -> Host:
    r"""``k`` of ``n`` discrete steps, distinct, spaced as $(n-1)(i/(k-1))^2$ and dense near the data, then -1.

    Args:
        n: steps of the chain.
        k: steps to keep, in [1, n].

    Raises:
        ValueError: for ``k`` outside of that range.

    References: Song et al. 2021, https://arxiv.org/abs/2010.02502
    """
    check_steps(n, k)
    rising = np.floor((n - 1) * np.linspace(0, 1, k) ** 2) if k > 1 else np.array([n - 1.0])
    # squares crowd near 0: push each time above the one before it, and below what the later ones need
    rising = np.maximum.accumulate(rising - np.arange(k)) + np.arange(k)
    rising = np.minimum(rising, n - k + np.arange(k))
    return np.append(rising[::-1], -1.0)


def check_steps(n: int, k: int) -> None:
    """Raises a ValueError unless ``k`` of ``n`` steps can be kept."""
    if not 1 <= k <= n:
        raise ValueError(f"steps must be in [1, {n}], got {k}")
