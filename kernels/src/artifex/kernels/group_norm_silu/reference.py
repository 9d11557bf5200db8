"""Group norm and SiLU as the formula reads."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def reference(
    x: Float[Array, "b *p c"],
    weight: Float[Array, "b c"],
    bias: Float[Array, "b c"],
    groups: int,
    epsilon: float,
    silu: bool,
) -> Float[Array, "b *p c"]:
    """``silu(weight * norm(x) + bias)``; see ``group_norm_silu``."""
    b, c = weight.shape
    grouped = x.astype(weight.dtype).reshape(b, -1, groups, c // groups)
    centred = grouped - jnp.mean(grouped, axis=(1, 3), keepdims=True)
    normal = centred * lax.rsqrt(jnp.mean(centred**2, axis=(1, 3), keepdims=True) + epsilon)
    y = weight[:, None] * normal.reshape(b, -1, c) + bias[:, None]
    return (jax.nn.silu(y) if silu else y).astype(x.dtype).reshape(x.shape)
