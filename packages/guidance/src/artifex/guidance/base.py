"""What guidance is: a condition and a conditional denoiser go in, a denoiser comes out."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.schedules import ConditionalDenoiser, Denoiser, Estimate, NoiseLevel, expand, record

X = Float[Array, "b *d"]
C = TypeVar("C")

Scale = float | Array | Callable[[NoiseLevel[jax.Array]], Array]
"""A guidance scale: one number, one a sample, or a function of the noise level."""


@runtime_checkable
class Guidance(Protocol[C]):
    """A way to steer a conditional denoiser towards its condition."""

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C) -> Denoiser:
        """The guided denoiser."""
        ...


def scale_at(scale: Scale, level: NoiseLevel[jax.Array], like: X) -> Array:
    """The scale at ``level``, shaped to multiply ``like``."""
    value = scale(level) if callable(scale) else scale
    return expand(jnp.asarray(value, jnp.promote_types(like.dtype, jnp.float32)), like)


@record
class Conditional(Generic[C]):
    """No guidance: the denoiser under its condition as it is."""

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C) -> Denoiser:
        """The denoiser with ``cond`` bound."""
        return _Bound(denoiser, cond)


@record
class _Bound(Generic[C]):
    denoiser: ConditionalDenoiser[C]
    cond: C

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        return self.denoiser(x_t, level, self.cond)
