"""The weighted sum by XLA: a chain of multiply-adds, fused into one pass over memory."""

from collections.abc import Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from artifex.kernels.linear_step.noise import Noise, draw


@partial(jax.jit, static_argnames=("clip", "noise"))
def xla(
    terms: Sequence[Float[Array, "b *d"]],
    weights: Float[Array, "b n"],
    noise_scale: Float[Array, " b"] | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
) -> Float[Array, "b *d"]:
    """``clip(sum_j weights[:, j] terms[j] + noise_scale z)``; see ``linear_step``."""
    shape, wide = terms[0].shape, weights.dtype
    column = (shape[0],) + (1,) * (len(shape) - 1)
    weighted = (weights[:, j].reshape(column) * term.astype(wide) for j, term in enumerate(terms))
    out = reduce(jnp.add, weighted)
    if noise_scale is not None and keys is not None:
        z = draw(keys, shape[1:], wide, noise)
        out = out + noise_scale.reshape(column) * z
    if clip is not None:
        out = jnp.clip(out, -clip, clip)
    return out.astype(terms[0].dtype)
