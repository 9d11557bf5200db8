"""Attention by NVIDIA's cuDNN, through JAX."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


@partial(jax.jit, static_argnames=("is_causal", "scale"))
def cudnn(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h d"],
    bias: Float[Array, "#b #h #t #s"] | None,
    mask: Bool[Array, "#b #h #t #s"] | None,
    segments: None,
    is_causal: bool,
    scale: float,
) -> tuple[Float[Array, "b t h d"], Float[Array, "b h t"]]:
    """The output, with NaNs as the log-sum-exp, which has no gradient here; see ``attention``.

    JAX turns a mask into a large negative bias of ``tokens x keys``, so that a token without keys gets the mean of all
    values. Its output, and so its gradients, are set to zero here.
    """
    t, s = q.shape[1], k.shape[1]
    if bias is not None:
        hidden = jnp.isneginf(bias)
        mask = ~hidden if mask is None else mask & ~hidden
        bias = jnp.where(hidden, 0, bias).astype(q.dtype)
        bias = jnp.broadcast_to(bias, (*bias.shape[:2], t, s))
    visible = None
    if mask is not None:
        mask = jnp.broadcast_to(mask, (*mask.shape[:2], t, s))
        reachable = mask & jnp.tri(t, s, dtype=jnp.bool_)[None, None] if is_causal else mask
        visible = jnp.swapaxes(jnp.any(reachable, axis=-1, keepdims=True), 1, 2)
    out = jax.nn.dot_product_attention(q, k, v, bias, mask, scale=scale, is_causal=is_causal, implementation="cudnn")
    if visible is not None:
        out = jnp.where(visible, out, 0)
    return out, jnp.full((q.shape[0], q.shape[2], t), jnp.nan, jnp.float32)
