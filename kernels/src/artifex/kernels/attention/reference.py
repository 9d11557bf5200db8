"""Attention as the formula reads, with all scores in memory at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from artifex.kernels.dtypes import accumulation_dtype


def reference(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    bias: Float[Array, "#b #h #t #s"] | None,
    mask: Bool[Array, "#b #h #t #s"] | None,
    segments: tuple[Int[Array, "b t"], Int[Array, "b s"]] | None,
    is_causal: bool,
    scale: float,
) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
    """The output and the log-sum-exp of the scores; see ``attention``."""
    wide = accumulation_dtype(q.dtype)
    scores = scale * jnp.einsum("bthd,bshd->bhts", q, k, preferred_element_type=wide)
    if bias is not None:
        scores = scores + bias.astype(wide)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    if segments is not None:
        scores = jnp.where(segments[0][:, None, :, None] == segments[1][:, None, None], scores, -jnp.inf)
    if is_causal:
        scores = jnp.where(jnp.tri(q.shape[1], k.shape[1], dtype=bool), scores, -jnp.inf)

    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    # A row of minus infinities has no largest score to subtract; its weights and output are zero.
    empty = jnp.isneginf(top)
    weights = jnp.exp(scores - jnp.where(empty, 0, top))
    total = jnp.where(empty, 1, jnp.sum(weights, axis=-1, keepdims=True))
    out = jnp.einsum("bhts,bshe->bthe", weights / total, v.astype(wide))
    return out.astype(v.dtype), (jnp.log(total) + top)[..., 0]
