"""Sums over rows, and their transpose, in the form that XLA's CPU backend is quick at.

It sums the rows of several matrices in vector registers, and those of a lone matrix column by column, 10 to 25 times
slower (measured at 256 to 1024 rows of 1152 columns). So a lone matrix is cut into several here.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def add_rows(x: Float[Array, "b t c"]) -> Float[Array, "b c"]:
    """``x.sum(1)``."""
    b, t, c = x.shape
    parts = _parts(b, t)
    sums = x.reshape(b, parts, t // parts, c).sum(2)
    return _apart(sums).sum(1) if parts > 1 else sums[:, 0]


def spread(v: Float[Array, "b c"], t: int) -> Float[Array, "b {t} c"]:
    """``v`` for each of ``t`` rows; in reverse mode this is `add_rows`."""
    b, c = v.shape
    parts = _parts(b, t)
    rows = jnp.broadcast_to(v[:, None, None], (b, parts, 1, c))
    rows = _apart(rows) if parts > 1 else rows
    return jnp.broadcast_to(rows, (b, parts, t // parts, c)).reshape(b, t, c)


def _apart(x: Array) -> Array:
    """``x``, behind a barrier: else XLA makes one sum of the two."""
    apart: Array = lax.optimization_barrier(x)  # type: ignore[no-untyped-call]
    return apart


def _parts(b: int, t: int) -> int:
    """How many pieces ``t`` rows of ``b`` matrices are cut into."""
    return math.gcd(t, 8) if b == 1 else 1
