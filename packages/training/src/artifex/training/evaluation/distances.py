"""Distances of every feature vector to every other, a block at a time."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from artifex.kernels.ranges import check_whole

BLOCK: Final = 1024
"""Rows of a block: 8 MiB of float64 distances."""
Rows = Float[np.ndarray, "n d"]


def blocks(n: int) -> Iterator[slice]:
    """Slices that cover ``n`` rows."""
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def squared(x: Rows, y: Float[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
    r"""$|x_i|^2 + |y_j|^2 - 2 x_i^\top y_j$, in float64 and counted from the first row of x.

    Good to the rounding of the largest squared distance from that row; exact for whole numbers, where distances tie.
    """
    x, y = (np.subtract(rows, x[0], dtype=np.float64) for rows in (x, y))
    out: Float64[np.ndarray, "n m"] = x @ (-2 * y).T
    out += np.einsum("nd,nd->n", x, x)[:, None]
    out += np.einsum("md,md->m", y, y)
    np.maximum(out, 0, out=out)
    return out


def radii(rows: Rows, k: int) -> Float64[np.ndarray, " n"]:
    """The squared distance from each row to its k-th nearest other; a pair of blocks serves the rows of both.

    Raises:
        ValueError: for k outside [1, n - 1].
    """
    n = len(rows)
    check_whole("k", k, 1)
    if n <= k:
        raise ValueError(f"k = {k} needs at least {k + 1} samples, got {n}")
    nearest = np.full((n, k), np.inf)

    def see(i: slice, found: Float64[np.ndarray, "n m"]) -> None:
        nearest[i] = np.partition(np.concatenate([nearest[i], found], axis=1), k - 1, axis=1)[:, :k]

    for i in blocks(n):
        found = squared(rows[i], rows[i])
        np.fill_diagonal(found, np.inf)
        see(i, found)
        for j in blocks(i.start):
            found = squared(rows[i], rows[j])
            see(i, found)
            see(j, found.T)
    out: Float64[np.ndarray, " n"] = nearest.max(axis=1)
    return out
