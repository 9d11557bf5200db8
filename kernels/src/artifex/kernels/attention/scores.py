"""What every plain body of attention shares: scores with their masks, and a softmax that forgives empty rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def masked_scores(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    bias: Float[Array, "#b #h #t #s"] | None,
    mask: Bool[Array, "#b #h #t #s"] | None,
    is_causal: bool,
    scale: float,
    rows: Int[Array, " t"],
) -> Float[Array, "b h t s"]:
    """``scale q k^T + bias`` in float32 at least; minus infinity where ``mask`` or ``is_causal`` hides the key."""
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = scale * jnp.einsum("bthd,bshd->bhts", q, k, preferred_element_type=wide)
    if bias is not None:
        scores = scores + bias.astype(wide)
    if is_causal:
        scores = jnp.where(rows[:, None] >= jnp.arange(k.shape[1]), scores, -jnp.inf)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    return scores


def apply_softmax(
    scores: Float[Array, "b h t s"], v: Float[Array, "b s h e"]
) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
    """``softmax(scores) v`` and the log-sum-exp; a row without a key gives zeros and minus infinity."""
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - jnp.where(jnp.isfinite(top), top, 0))
    total = jnp.sum(weights, axis=-1)
    empty = total == 0
    whole = jnp.where(empty, 1, total)
    mixed = jnp.einsum("bhts,bshe->bthe", weights.astype(v.dtype), v, preferred_element_type=scores.dtype)
    out = mixed / jnp.swapaxes(whole, 1, 2)[..., None]
    lse = jnp.where(empty, -jnp.inf, jnp.log(whole) + jnp.where(empty, 0, top[..., 0]))
    return out.astype(v.dtype), lse
