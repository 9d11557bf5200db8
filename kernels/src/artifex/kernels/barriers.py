"""Barriers: what stands on their two sides, XLA does not make one operation of."""

import jax
from jax import lax
from jaxtyping import Array


def apart(x: Array) -> Array:
    """``x``, behind a barrier; so is its gradient."""
    behind: Array = lax.optimization_barrier(x)  # type: ignore[no-untyped-call]
    return behind


@jax.custom_jvp
def held(x: Array) -> Array:
    """``x``, whose gradient is behind a barrier and itself is not.

    So the gradient is made in the order of axes that ``x`` has here, and reordered afterwards if it must be; else XLA
    may make it in another order, which its CPU backend takes several times as long for.
    """
    return x


@held.defjvp
def _held_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return held(*primals), apart(*tangents)
