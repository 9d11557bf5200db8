"""Arithmetic of samples."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.schedules.shapes import X


def dot(a: X, b: X) -> Float[Array, "b ..."]:
    """The inner product per sample, with axes of size 1 for all but the first."""
    return jnp.sum(a * b, axis=tuple(range(1, a.ndim)), keepdims=True)


def safe_divide(a: Array, b: Array, otherwise: float) -> Array:
    """``a / b``, and ``otherwise`` where ``b`` is 0."""
    return jnp.where(b == 0, otherwise, a / jnp.where(b == 0, 1, b))
