"""The weighted sum as the formula reads."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from artifex.kernels.linear_step.noise import Noise, draw


def reference(
    terms: Sequence[Float[Array, "b *d"]],
    weights: Float[Array, "b n"],
    noise_scale: Float[Array, " b"] | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
) -> Float[Array, "b *d"]:
    """``clip(sum_j weights[:, j] terms[j] + noise_scale z)``; see ``linear_step``."""
    wide = weights.dtype
    out = jnp.einsum("bn,nb...->b...", weights, jnp.stack([term.astype(wide) for term in terms]), precision="highest")
    if noise_scale is not None and keys is not None:
        z = draw(keys, terms[0].shape[1:], wide, noise)
        out = out + jnp.einsum("b,b...->b...", noise_scale, z)
    if clip is not None:
        out = jnp.clip(out, -clip, clip)
    return out.astype(terms[0].dtype)
