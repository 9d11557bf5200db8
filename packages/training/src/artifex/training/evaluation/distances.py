"""Pairwise distances of feature vectors, in blocks."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from artifex.kernels.ranges import check_whole

BLOCK: Final = 1024
"""Rows of a block; its distances take 8 MiB in float64."""
Rows = Float[np.ndarray, "n d"]


def blocks(n: int) -> Iterator[slice]:
    """Yield slices that cover ``n`` rows."""
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def squared(x: Rows, y: Float[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
    r"""Compute $|x_i|^2 + |y_j|^2 - 2 x_i^\top y_j$, in float64 and relative to the first row of x.

    Accurate to the rounding of the largest squared distance from that row; exact for whole numbers, so that ties are.
    """
    x, y = (np.subtract(rows, x[0], dtype=np.float64) for rows in (x, y))
    out: Float64[np.ndarray, "n m"] = x @ (-2 * y).T
    out += np.einsum("nd,nd->n", x, x)[:, None]
    out += np.einsum("md,md->m", y, y)
    np.maximum(out, 0, out=out)
    return out


def radii(rows: Rows, k: int) -> Float64[np.ndarray, " n"]:
    """Compute the squared distance from each row to its k-th nearest neighbor.

    Raises:
        ValueError: for k outside [1, n - 1].
    """
    n = len(rows)
    check_whole("k", k, 1)
    if n <= k:
        raise ValueError(f"k = {k} needs at least {k + 1} samples, got {n}")
    nearest = np.full((n, k), np.inf)

    def update(i: slice, found: Float64[np.ndarray, "n m"]) -> None:
        nearest[i] = np.partition(np.concatenate([nearest[i], found], axis=1), k - 1, axis=1)[:, :k]

    for i in blocks(n):
        found = squared(rows[i], rows[i])
        np.fill_diagonal(found, np.inf)
        update(i, found)
        for j in blocks(i.start):
            found = squared(rows[i], rows[j])
            update(i, found)
            update(j, found.T)
    out: Float64[np.ndarray, " n"] = nearest.max(axis=1)
    return out
