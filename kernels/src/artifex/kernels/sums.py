"""Sums over rows, and their transpose, in a form that XLA's CPU backend runs fast.

It sums the rows of several matrices in vector registers, but those of a single matrix column by column, 10 to 25 times
slower. So a single matrix is split into several here.
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
    # Without the barrier XLA merges the two sums.
    return optimization_barrier(x.reshape(b, parts, rows // parts, c).sum(2)).sum(1)


def broadcast_rows(v: Float[Array, "b c"], shape: tuple[int, ...]) -> Float[Array, "b *p c"]:
    """``v`` broadcast to ``shape`` along the axes between the first and the last; the transpose of ``sum_rows``."""
    (b, c), rows = v.shape, math.prod(shape[1:-1])
    parts = _parts(b, rows)
    if parts == 1:
        return jnp.broadcast_to(v.reshape(b, *(1,) * (len(shape) - 2), c), shape)
    pieces = optimization_barrier(jnp.broadcast_to(v[:, None, None], (b, parts, 1, c)))
    return jnp.broadcast_to(pieces, (b, parts, rows // parts, c)).reshape(shape)


def _parts(b: int, rows: int) -> int:
    """The number of parts that the rows of each of ``b`` matrices are split into."""
    return math.gcd(rows, 8) if b == 1 else 1
