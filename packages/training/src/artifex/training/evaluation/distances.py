"""Distances of every feature vector to every other, a block at a time."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float64

BLOCK: Final = 1024
"""Rows of a block: 8 MiB of float64 distances."""
Rows = Float64[np.ndarray, "n d"]


def blocks(n: int) -> Iterator[slice]:
    """Slices that cover ``n`` rows."""
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def squared(x: Rows, y: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
    r"""$|x_i|^2 + |y_j|^2 - 2 x_i^\top y_j$, counted from the first row of x.

    Good to the rounding of the largest squared distance from that row; exact for whole numbers, where distances tie.
    """
    x, y = x - x[0], y - x[0]
    out: Float64[np.ndarray, "n m"] = x @ y.T
    out *= -2
    out += np.sum(x * x, axis=1)[:, None]
    out += np.sum(y * y, axis=1)
    np.maximum(out, 0, out=out)
    return out


def radii(rows: Rows, k: int) -> Float64[np.ndarray, " n"]:
    """The squared distance from each row to its k-th nearest other.

    Raises:
        ValueError: for k outside [1, n - 1].
    """
    n = len(rows)
    if not 1 <= k < n:
        raise ValueError(f"k must be in [1, {n - 1}] for {n} samples, got {k}")
    out = np.empty(n)
    for i in blocks(n):
        nearest = np.full((i.stop - i.start, k), np.inf)
        for j in blocks(n):
            found = squared(rows[i], rows[j])
            if i == j:
                np.fill_diagonal(found, np.inf)
            nearest = np.partition(np.concatenate([nearest, found], axis=1), k - 1, axis=1)[:, :k]
        out[i] = nearest.max(axis=1)
    return out
