"""Group norm and SiLU left to XLA: both sums in one pass, then one multiply-add an element."""

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

    The variance is the mean of squares less the square of the mean: rounding takes ``1 + mean^2 / variance`` times as
    much of it as of a sum about the mean, which a CPU would need another pass for.
    """
    (b, c), places = weight.shape, math.prod(x.shape[1:-1])
    wide = x.astype(weight.dtype)

    def group(sums: Float[Array, "b c"]) -> Float[Array, "b c"]:
        """The mean of each group, at each of its channels."""
        means = sums.reshape(b, groups, -1).mean(-1, keepdims=True) / places
        return jnp.broadcast_to(means, (b, groups, c // groups)).reshape(b, c)

    mean = group(sum_rows(wide))
    var = group(sum_rows(wide * wide)) - mean * mean
    a = weight * lax.rsqrt(jnp.maximum(var, 0) + epsilon)
    y: Array = _ends(wide, a, bias - mean * a, silu)
    return y.astype(x.dtype)


@partial(jax.checkpoint, static_argnums=(3,))
def _ends(
    x: Float[Array, "b *p c"], a: Float[Array, "b c"], b: Float[Array, "b c"], silu: bool
) -> Float[Array, "b *p c"]:
    """``silu(a x + b)``, made anew for the gradient: to keep what that needs would cost a CPU more than to make it."""
    y = x * broadcast_rows(a, x.shape) + broadcast_rows(b, x.shape)
    return jax.nn.silu(y) if silu else y
