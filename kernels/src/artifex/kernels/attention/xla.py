"""Attention left to XLA: whole up to 1,024 queries, above that query chunk by query chunk."""

from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from artifex.kernels.attention.reference import reference
from artifex.kernels.attention.scores import apply_softmax, masked_scores

WHOLE: Final = 1024
"""So many queries are attended to at once: below, chunks cost time and save little memory."""
CHUNK: Final = 256


def xla(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    bias: Float[Array, "#b #h #t #s"] | None,
    mask: Bool[Array, "#b #h #t #s"] | None,
    is_causal: bool,
    scale: float,
) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
    """Attention whose memory grows with ``CHUNK x s`` instead of ``t x s``, in the backward pass too.

    A chunk sees every key, so its softmax is final and no running maximum is kept. ``jax.checkpoint`` makes the scores
    anew when the gradient asks for them.
    """
    b, t, h, _ = q.shape
    if t <= WHOLE:
        return reference(q, k, v, bias, mask, is_causal, scale)
    chunks = -(-t // CHUNK)

    def split(rows: Array, axis: int) -> Array:
        """``rows`` padded and cut into chunks along ``axis``, the chunks in front."""
        pad = [(0, 0)] * rows.ndim
        pad[axis] = (0, chunks * CHUNK - t)
        shape = (*rows.shape[:axis], chunks, CHUNK, *rows.shape[axis + 1 :])
        return jnp.moveaxis(jnp.pad(rows, pad).reshape(shape), axis, 0)

    def by_query(extra: Array | None) -> bool:
        return extra is not None and extra.shape[2] == t

    @partial(jax.checkpoint, prevent_cse=False)
    def attend(
        part: tuple[Array, Int[Array, " t"], Array | None, Array | None],
    ) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
        q_part, rows, bias_part, mask_part = part
        scores = masked_scores(
            q_part,
            k,
            bias if bias_part is None else bias_part,
            mask if mask_part is None else mask_part,
            is_causal,
            scale,
            rows,
        )
        return apply_softmax(scores, v)

    parts = (
        split(q, 1),
        jnp.arange(chunks * CHUNK).reshape(chunks, CHUNK),
        split(bias, 2) if bias is not None and by_query(bias) else None,
        split(mask, 2) if mask is not None and by_query(mask) else None,
    )
    out, lse = jax.lax.map(attend, parts)
    out = jnp.moveaxis(out, 0, 1).reshape(b, chunks * CHUNK, h, v.shape[-1])[:, :t]
    return out, jnp.moveaxis(lse, 0, 2).reshape(b, h, chunks * CHUNK)[:, :, :t]
