"""Attention as the formula says it, all scores in memory at once."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from artifex.kernels.attention.scores import apply_softmax, masked_scores


def reference(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    bias: Float[Array, "#b #h #t #s"] | None,
    mask: Bool[Array, "#b #h #t #s"] | None,
    is_causal: bool,
    scale: float,
) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
    """The output and the log-sum-exp of the scores; see ``attention``."""
    scores = masked_scores(q, k, bias, mask, is_causal, scale, jnp.arange(q.shape[1]))
    return apply_softmax(scores, v)
