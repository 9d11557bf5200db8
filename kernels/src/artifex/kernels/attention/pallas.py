r"""Attention by Pallas: for TPUs, for GPUs as long as JAX lowers Pallas to Triton, and interpreted for tests.

It has been interpreted and lowered, but not run on a device. The formulas are those of ``triton_kernels``, with natural
exponentials. A program has one tile of tokens, or of keys, and loops over all tiles of the other.

References: Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867; Dao 2023, https://arxiv.org/abs/2307.08691
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from artifex.kernels.attention.pallas_tiles import Refs, Tiles
from artifex.kernels.attention.vjp import Inputs, with_vjp
from artifex.kernels.platform import Target


@partial(jax.jit, static_argnames=("is_causal", "scale", "target", "sides"))
def pallas(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    bias: Float[Array, "#b #h #t #s"] | None,
    mask: Bool[Array, "#b #h #t #s"] | None,
    segments: tuple[Int[Array, "b t"], Int[Array, "b s"]] | None,
    is_causal: bool,
    scale: float,
    target: Target | None = None,
    sides: tuple[int, int] = (128, 128),
) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
    """The output and the log-sum-exp; see ``attention``.

    ``target`` and ``sides``, the most tokens and keys of a tile, are for tests and tuning.
    """
    t, s, d, e = q.shape[1], k.shape[1], q.shape[3], v.shape[3]
    queries, keys = (min(side, max(16, pl.next_power_of_2(n))) for side, n in zip(sides, (t, s), strict=True))
    kernels = _Kernels(Tiles(t, s, queries, keys, target), is_causal, scale)

    def back_to_heads(x: Array, n: int, width: int) -> Array:
        return jnp.swapaxes(x[:, :, :n, :width], 1, 2)

    def forward(x: Inputs) -> tuple[Array, ...]:
        tiles = kernels.tiles
        arrays = tiles.arrays(x)
        wide: dict[str, tuple[int, DTypeLike]] = {"out": (arrays["v"].shape[3], x.v.dtype), "lse": (1, jnp.float32)}
        out, lse = tiles.call(kernels.out, "t", arrays, wide)
        return back_to_heads(out, t, e), lse[:, :, :t, 0]

    def backward(x: Inputs, d_out: Array, lse: Array, delta: Array) -> tuple[Array, ...]:
        tiles = kernels.tiles
        arrays = tiles.arrays(x) | {
            "d_out": tiles.of_heads("d_out", d_out),
            "lse": tiles.padded("lse", lse[..., None]),
            "delta": tiles.padded("delta", delta[..., None]),
        }
        wide = {f"d_{name}": (arrays[name].shape[3], y.dtype) for name, y in (("q", x.q), ("k", x.k), ("v", x.v))}
        (d_q,) = tiles.call(kernels.d_q, "t", arrays, {"d_q": wide["d_q"]})
        d_k, d_v = tiles.call(kernels.d_kv, "s", arrays, {"d_k": wide["d_k"], "d_v": wide["d_v"]})
        return back_to_heads(d_q, t, d), back_to_heads(d_k, s, d), back_to_heads(d_v, s, e)

    return with_vjp(forward, backward, is_causal, scale)(Inputs(q, k, v, bias, mask, segments))


@dataclass(frozen=True)
class _Kernels:
    """The three kernels of one attention."""

    tiles: Tiles
    is_causal: bool
    scale: float

    def out(self, x: Refs, i: Array) -> None:
        """The output and the log-sum-exp of a tile of tokens."""
        q = x["q"][...]

        def step(j: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            top, total, mixed = carry
            v = self.tiles.tile(x, "v", i, j)
            scores = self.scores(x, i, j)
            higher = jnp.maximum(top, jnp.max(scores, axis=1, keepdims=True))
            # A row without keys so far has no largest score; any finite one keeps its weights at zero.
            level = jnp.where(higher == -jnp.inf, 0.0, higher)
            weights, fade = jnp.exp(scores - level), jnp.exp(top - level)
            total = total * fade + jnp.sum(weights, axis=1, keepdims=True)
            return higher, total, mixed * fade + _dot(weights.astype(v.dtype), v, 1, 0)

        rows = q.shape[0]
        initial = jnp.full((rows, 1), -jnp.inf), jnp.zeros((rows, 1)), jnp.zeros((rows, x["v"].shape[1]))
        top, total, mixed = jax.lax.fori_loop(0, self.last_keys(i), step, initial)
        total = jnp.where(top == -jnp.inf, 1.0, total)
        x["out"][...] = (mixed / total).astype(x["out"].dtype)
        x["lse"][...] = jnp.log(total) + top

    def d_q(self, x: Refs, i: Array) -> None:
        """The gradient of a tile of tokens."""

        def step(j: Array, d_q: Array) -> Array:
            k = self.tiles.tile(x, "k", i, j)
            return d_q + _dot(self.d_scores(x, i, j)[1].astype(k.dtype), k, 1, 0)

        d_q = jax.lax.fori_loop(0, self.last_keys(i), step, jnp.zeros(x["q"].shape))
        x["d_q"][...] = (self.scale * d_q).astype(x["d_q"].dtype)

    def d_kv(self, x: Refs, j: Array) -> None:
        """The gradients of a tile of keys and values."""

        def step(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            d_k, d_v = carry
            q, d_out = self.tiles.tile(x, "q", i, j), self.tiles.tile(x, "d_out", i, j)
            weights, d_scores = self.d_scores(x, i, j)
            d_v = d_v + _dot(weights.astype(d_out.dtype), d_out, 0, 0)
            return d_k + _dot(d_scores.astype(q.dtype), q, 0, 0), d_v

        first = j * self.tiles.keys // self.tiles.queries if self.is_causal else 0
        initial = jnp.zeros(x["k"].shape), jnp.zeros(x["v"].shape)
        d_k, d_v = jax.lax.fori_loop(first, self.tiles.count("t"), step, initial)
        x["d_k"][...] = (self.scale * d_k).astype(x["d_k"].dtype)
        x["d_v"][...] = d_v.astype(x["d_v"].dtype)

    def last_keys(self, i: Array) -> Array | int:
        """The number of tiles of keys that the tokens of tile ``i`` attend to."""
        count = self.tiles.count("s")
        if not self.is_causal:
            return count
        return jnp.minimum(count, pl.cdiv((i + 1) * self.tiles.queries, self.tiles.keys))

    def d_scores(self, x: Refs, i: Array, j: Array) -> tuple[Array, Array]:
        """The weights of a tile and the gradient of its scores."""
        d_out, v, lse, delta = (self.tiles.tile(x, name, i, j) for name in ("d_out", "v", "lse", "delta"))
        weights = jnp.exp(self.scores(x, i, j) - lse)
        return weights, weights * (_dot(d_out, v, 1, 1) - delta)

    def scores(self, x: Refs, i: Array, j: Array) -> Array:
        """The scores of a tile, minus infinity where masked."""
        tiles = self.tiles
        scores = self.scale * _dot(tiles.tile(x, "q", i, j), tiles.tile(x, "k", i, j), 1, 1)
        rows = i * tiles.queries + jax.lax.broadcasted_iota(jnp.int32, scores.shape, 0)
        cols = j * tiles.keys + jax.lax.broadcasted_iota(jnp.int32, scores.shape, 1)
        visible = cols < tiles.s
        if self.is_causal:
            visible &= rows >= cols
        if "mask" in x:
            visible &= tiles.tile(x, "mask", i, j).astype(jnp.int32) != 0
        if "q_segments" in x:
            visible &= tiles.tile(x, "q_segments", i, j) == tiles.tile(x, "k_segments", i, j)
        if "bias" in x:
            scores += tiles.tile(x, "bias", i, j).astype(scores.dtype)
        return jnp.where(visible, scores, -jnp.inf)


def _dot(a: Array, b: Array, of_a: int, of_b: int) -> Array:
    """The product over axes ``of_a`` and ``of_b``, summed in float32, with exact products of float32 factors."""
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    over = (((of_a,), (of_b,)), ((), ()))
    return jax.lax.dot_general(a, b, over, precision=precision, preferred_element_type=jnp.float32)
