"""Optimization barriers: XLA does not fuse across them."""

import jax
from jax import lax
from jaxtyping import Array


def optimization_barrier(x: Array) -> Array:
    """``x`` behind an optimization barrier; so is its gradient."""
    out: Array = lax.optimization_barrier(x)  # type: ignore[no-untyped-call]
    return out


@jax.custom_jvp
def gradient_barrier(x: Array) -> Array:
    """``x``, with an optimization barrier for its gradient alone.

    The gradient is computed in the axis order that ``x`` has here and transposed afterwards if it must be; XLA's CPU
    backend may otherwise choose an order that takes several times as long.
    """
    return x


@gradient_barrier.defjvp
def _jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return gradient_barrier(*primals), optimization_barrier(*tangents)
