"""Attention by XLA, in tiles of scores that fit a processor's cache and are recomputed for the gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from artifex.kernels.barriers import gradient_barrier
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.platform import platform


@dataclass(frozen=True)
class Tiling:
    """The tiling of the scores, by default as measured to be fast on CPUs.

    Attributes:
        whole: most scores per head that are computed for all heads at once, without a loop.
        scores: approximate scores of a head in a tile beyond that; 4 MiB of float32 by default.
        rows: fewest queries of a tile: products of thin matrices are slow.
        by_head: whether to loop over samples and heads too, so that a tile stays in a core's cache.

    Raises:
        ValueError: for a tile without scores or rows.
    """

    whole: int = 256 * 256
    scores: int = 1024 * 1024
    rows: int = 128
    by_head: bool = True

    def __post_init__(self) -> None:
        if self.scores < 1 or self.rows < 1:
            raise ValueError(f"scores and rows must be positive, got {self.scores} and {self.rows}")


Tile = Callable[..., tuple[Array, Array]]


@partial(jax.jit, static_argnames=("is_causal", "scale", "tiling"))
def xla(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    bias: Float[Array, "#b #h #t #s"] | None,
    mask: Bool[Array, "#b #h #t #s"] | None,
    segments: tuple[Int[Array, "b t"], Int[Array, "b s"]] | None,
    is_causal: bool,
    scale: float,
    tiling: Tiling | None = None,
) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
    """Attention whose memory grows with ``t + s`` instead of ``t x s``, in the backward pass too.

    A tile has every key, so its softmax needs no running maximum. Other devices than CPUs compute all heads at once:
    parallelism is worth more there than a cache.
    """
    if tiling is None:
        tiling = Tiling(by_head=platform() == "cpu")
    b, t, h, _ = q.shape
    s = k.shape[1]
    whole = t * s <= tiling.whole
    chunks = 1 if whole else -(-t // max(tiling.rows, tiling.scores // s))
    rows = -(-t // chunks)

    def cut(x: Array) -> Array:
        """``(b, h, t, n)`` to ``(chunks, b, h, rows, n)``, padded; a ``t`` of size 1 is broadcast."""
        if x.shape[2] != t or chunks == 1:
            return x[None]
        x = jnp.pad(x, ((0, 0), (0, 0), (0, chunks * rows - t), (0, 0)))
        return jnp.moveaxis(x.reshape(*x.shape[:2], chunks, rows, x.shape[3]), 2, 0)

    if jnp.dtype(q.dtype).itemsize >= 4:
        q, scale = scale * q, 1.0  # fewer queries than scores; a narrower dtype would be rounded again
    over: Tile = partial(_tile, is_causal=is_causal, scale=scale)
    if not whole:
        over = jax.checkpoint(over, prevent_cse=False)
    for _ in range(3 if tiling.by_head and not whole else 1):
        over = _walk(over)
    out, lse = over(
        cut(jnp.swapaxes(q, 1, 2)),
        _by_head(k)[None],
        _by_head(v)[None],
        None if bias is None else cut(bias),
        None if mask is None else cut(mask),
        None if segments is None else cut(segments[0][:, None, :, None]),
        None if segments is None else segments[1][:, None, None][None],
        jnp.arange(chunks * rows).reshape(chunks, 1, 1, rows),
    )
    out = jnp.moveaxis(out, 0, 2).reshape(b, h, chunks * rows, v.shape[-1])[:, :, :t]
    return jnp.swapaxes(out, 1, 2), jnp.moveaxis(lse, 0, 2).reshape(b, h, chunks * rows)[:, :, :t]


def _by_head(x: Float[Array, "b s h d"]) -> Float[Array, "b h s d"]:
    """``x`` with its heads first; its gradient is computed as ``(b, h, d, s)`` and then transposed.

    XLA would compute it as ``(b, h, s, d)``, a product that takes its CPU backend twice as long.
    """
    return jnp.swapaxes(gradient_barrier(x.transpose(0, 2, 3, 1)), 2, 3)


def _walk(f: Tile) -> Tile:
    """``f`` mapped over the leading axis of its arguments, with those of size 1 broadcast."""

    def over(*parts: Array | None) -> tuple[Array, Array]:
        n = max(x.shape[0] for x in parts if x is not None)
        if n == 1:
            out, lse = f(*(x if x is None else x[0] for x in parts))
            return out[None], lse[None]
        walked = [x if x is not None and x.shape[0] == n else None for x in parts]

        def at(ones: list[Array | None]) -> tuple[Array, Array]:
            return f(*(x if x is None else x[0] if one is None else one for x, one in zip(parts, ones, strict=True)))

        out, lse = jax.lax.map(at, walked)
        return out, lse

    return over


def _tile(
    q: Float[Array, "*n t d"],
    k: Float[Array, "*n s d"],
    v: Float[Array, "*n s e"],
    bias: Float[Array, "*#n #t #s"] | None,
    mask: Bool[Array, "*#n #t #s"] | None,
    q_segments: Int[Array, "*#n t 1"] | None,
    k_segments: Int[Array, "*#n 1 s"] | None,
    rows: Int[Array, "*#n t"],
    *,
    is_causal: bool,
    scale: float,
) -> tuple[Float[Array, "*n t e"], Float[Array, "*n t"]]:
    """Attention of the queries at positions ``rows``."""
    wide = accumulation_dtype(q.dtype)
    scores = jnp.einsum("...td,...sd->...ts", q, k, preferred_element_type=wide)
    if scale != 1.0:
        scores = scale * scores
    if bias is not None:
        scores = scores + bias.astype(wide)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    if q_segments is not None and k_segments is not None:
        scores = jnp.where(q_segments == k_segments, scores, -jnp.inf)
    if is_causal:
        columns = jax.lax.broadcast_to_rank(jnp.arange(k.shape[-2]), rows.ndim + 1)
        scores = jnp.where(rows[..., None] >= columns, scores, -jnp.inf)
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1))
    if is_causal or not (bias is None and mask is None and q_segments is None):  # else no row of scores is empty
        empty = jnp.isneginf(top)
        weights = jnp.exp(scores - jnp.where(empty, 0, top)[..., None])
        total = jnp.where(empty, 1, jnp.sum(weights, axis=-1))
    else:
        weights = jnp.exp(scores - top[..., None])
        total = jnp.sum(weights, axis=-1)
    # Dividing the weighted sum, not the weights, saves a pass over the scores.
    mixed = jnp.einsum("...ts,...se->...te", weights.astype(v.dtype), v, preferred_element_type=wide)
    return (mixed / total[..., None]).astype(v.dtype), jnp.log(total) + top
