"""The weighted sum as the formula says it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def reference(
    terms: Sequence[Float[Array, "b *d"]],
    weights: Float[Array, "b n"],
    noise_scale: Float[Array, " b"] | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
) -> Float[Array, "b *d"]:
    """``clip(sum_j weights[:, j] terms[j] + noise_scale z)``; see ``linear_step``."""
    out = jnp.einsum("bn,nb...->b...", weights, jnp.stack(terms).astype(weights.dtype), precision="highest")
    if noise_scale is not None and keys is not None:
        noise = jax.vmap(lambda key: jax.random.normal(key, terms[0].shape[1:], weights.dtype))(keys)
        out = out + jnp.einsum("b,b...->b...", noise_scale, noise)
    if clip is not None:
        out = jnp.clip(out, -clip, clip)
    return out.astype(terms[0].dtype)
