"""Sums over rows, and their transpose, in the form that XLA's CPU backend is quick at.

It sums the rows of several matrices in vector registers, and those of a lone matrix column by column, 10 to 25 times
slower (measured at 256 to 1024 rows of 1152 columns). So a lone matrix is cut into several here.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.barriers import optimization_barrier


def sum_rows(x: Float[Array, "b *p c"]) -> Float[Array, "b c"]:
    """The sum over all axes between the first and the last."""
    b, rows, c = x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]
    parts = _parts(b, rows)
    if parts == 1:
        return x.sum(range(1, x.ndim - 1))
    # Without the barrier XLA makes one sum of the two.
    return optimization_barrier(x.reshape(b, parts, rows // parts, c).sum(2)).sum(1)


def broadcast_rows(v: Float[Array, "b c"], shape: tuple[int, ...]) -> Float[Array, "b *p c"]:
    """``v`` along new axes between its own, to ``shape``; in reverse mode this is `sum_rows`."""
    (b, c), rows = v.shape, math.prod(shape[1:-1])
    parts = _parts(b, rows)
    if parts == 1:
        return jnp.broadcast_to(v.reshape(b, *(1,) * (len(shape) - 2), c), shape)
    pieces = optimization_barrier(jnp.broadcast_to(v[:, None, None], (b, parts, 1, c)))
    return jnp.broadcast_to(pieces, (b, parts, rows // parts, c)).reshape(shape)


def _parts(b: int, rows: int) -> int:
    """How many pieces the rows of each of ``b`` matrices are cut into."""
    return math.gcd(rows, 8) if b == 1 else 1
