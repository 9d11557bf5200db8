"""Group norm and SiLU by XLA: both sums in one pass, then one multiply-add per element."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from artifex.kernels.sums import broadcast_rows, sum_rows


@partial(jax.jit, static_argnames=("groups", "epsilon", "silu"))
def xla(
    x: Float[Array, "b *p c"],
    weight: Float[Array, "b c"],
    bias: Float[Array, "b c"],
    groups: int,
    epsilon: float,
    silu: bool,
) -> Float[Array, "b *p c"]:
    """``silu(weight * norm(x) + bias)``; see ``group_norm_silu``.

    The variance is the mean of squares minus the squared mean: its rounding error is ``1 + mean^2 / variance`` times
    that of a sum about the mean, which would need another pass.
    """
    (b, c), pixels = weight.shape, math.prod(x.shape[1:-1])
    wide = x.astype(weight.dtype)

    def group(sums: Float[Array, "b c"]) -> Float[Array, "b c"]:
        """The mean of each group, at each of its channels."""
        means = sums.reshape(b, groups, -1).mean(-1, keepdims=True) / pixels
        return jnp.broadcast_to(means, (b, groups, c // groups)).reshape(b, c)

    mean = group(sum_rows(wide))
    var = group(sum_rows(wide * wide)) - mean * mean
    a = weight * lax.rsqrt(jnp.maximum(var, 0) + epsilon)
    y: Array = _scale_silu(wide, a, bias - mean * a, silu)
    return y.astype(x.dtype)


@partial(jax.checkpoint, static_argnums=(3,))
def _scale_silu(
    x: Float[Array, "b *p c"], a: Float[Array, "b c"], b: Float[Array, "b c"], silu: bool
) -> Float[Array, "b *p c"]:
    """``silu(a x + b)``, recomputed for the gradient: storing it costs a CPU more."""
    y = x * broadcast_rows(a, x.shape) + broadcast_rows(b, x.shape)
    return jax.nn.silu(y) if silu else y
