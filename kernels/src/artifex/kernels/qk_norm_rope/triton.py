"""The norm of a head and its rotation as Triton kernels; the other element of a pair is read again, from cache."""

from functools import partial

import jax
import triton.language as tl
from jaxtyping import Array, Float

from artifex.kernels.platform import Launch, launch, shaped, triton_jit
from artifex.kernels.qk_norm_rope.config import DEFAULT, Config
from artifex.kernels.qk_norm_rope.reference import Norm
from artifex.kernels.qk_norm_rope.vjp import with_vjp
from artifex.kernels.tiles import power_of_two


@partial(jax.jit, static_argnames=("norm", "epsilon", "launch", "config"))
def triton(
    x: Float[Array, "b t h d"],
    gain: Float[Array, " d"],
    cos: Float[Array, "#b t a n"],
    sin: Float[Array, "#b t a n"],
    norm: Norm,
    epsilon: float,
    launch: Launch = launch,
    config: Config = DEFAULT,
) -> Float[Array, "b t h d"]:
    """Normalize and rotate queries or keys; see ``qk_norm_rope``."""
    n = cos.shape[-1]

    def call(backward: bool, *args: Array) -> tuple[Array, ...]:
        x, gain, cos = args[:3]
        b, t, h, d = x.shape
        parts = -(-t * h // config.rows)
        constants = {
            "tokens": t,
            "heads": h,
            "head_dim": d,
            "pairs": n,
            "parts": parts,
            "gains": gain.shape[0] > 1,
            "turns": cos.shape[0] > 1,
            "centred": norm == "layer",
            "epsilon": epsilon,
            "rows": config.rows,
            "block": power_of_two(d),
        }
        like_x = shaped(x.shape, x.dtype)
        kernel = backward_kernel if backward else forward_kernel
        out = (like_x, shaped((b, parts, 1, d), gain.dtype)) if backward else (like_x,)
        return launch(kernel, (b * parts,), args, out, constants, warps=config.warps, stages=1)

    return with_vjp(partial(call, False), partial(call, True), x, gain, cos, sin)


@triton_jit
def forward_kernel(
    x: tl.tensor,
    gain: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    y: tl.tensor,
    tokens: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    pairs: tl.constexpr,
    parts: tl.constexpr,
    gains: tl.constexpr,
    turns: tl.constexpr,
    centred: tl.constexpr,
    epsilon: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Forward for some heads of a sample."""
    sample = (tl.program_id(0) // parts).to(tl.int64)
    row = tl.program_id(0) % parts * rows + tl.arange(0, rows)
    at = tl.arange(0, block)
    left = at % (2 * pairs) < pairs
    other = tl.where(left, at + pairs, at - pairs)
    valid = (row < tokens * heads)[:, None] & (at < head_dim)[None, :]
    start = (sample * (tokens * heads) + row)[:, None] * head_dim
    v = tl.load(x + start + at[None, :], mask=valid, other=0.0).to(tl.float32)
    w = tl.load(x + start + other[None, :], mask=valid, other=0.0).to(tl.float32)
    mean, rstd = statistics(v, valid, head_dim, centred, epsilon)
    g = gain + (sample * head_dim if gains else 0)
    mine = (v - mean) * rstd * tl.load(g + at, mask=at < head_dim, other=0.0)[None, :]
    others = (w - mean) * rstd * tl.load(g + other, mask=at < head_dim, other=0.0)[None, :]
    turn = ((sample * tokens if turns else 0) + row // heads)[:, None] * head_dim + at[None, :]
    c, s = tl.load(cos + turn, mask=valid, other=0.0), tl.load(sin + turn, mask=valid, other=0.0)
    out = mine * c + tl.where(left[None, :], -others, others) * s
    tl.store(y + start + at[None, :], out.to(y.dtype.element_ty), mask=valid)


@triton_jit
def backward_kernel(
    x: tl.tensor,
    gain: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    d_y: tl.tensor,
    d_x: tl.tensor,
    d_gain: tl.tensor,
    tokens: tl.constexpr,
    heads: tl.constexpr,
    head_dim: tl.constexpr,
    pairs: tl.constexpr,
    parts: tl.constexpr,
    gains: tl.constexpr,
    turns: tl.constexpr,
    centred: tl.constexpr,
    epsilon: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Backward for some heads of a sample."""
    sample = (tl.program_id(0) // parts).to(tl.int64)
    row = tl.program_id(0) % parts * rows + tl.arange(0, rows)
    at = tl.arange(0, block)
    left = at % (2 * pairs) < pairs
    other = tl.where(left, at + pairs, at - pairs)
    valid = (row < tokens * heads)[:, None] & (at < head_dim)[None, :]
    start = (sample * (tokens * heads) + row)[:, None] * head_dim
    turn = ((sample * tokens if turns else 0) + row // heads)[:, None] * head_dim + at[None, :]
    c, s = tl.load(cos + turn, mask=valid, other=0.0), tl.load(sin + turn, mask=valid, other=0.0)
    mine = tl.load(d_y + start + at[None, :], mask=valid, other=0.0).to(tl.float32)
    others = tl.load(d_y + start + other[None, :], mask=valid, other=0.0).to(tl.float32)
    d_z = mine * c + tl.where(left[None, :], others, -others) * s
    v = tl.load(x + start + at[None, :], mask=valid, other=0.0).to(tl.float32)
    mean, rstd = statistics(v, valid, head_dim, centred, epsilon)
    normal = (v - mean) * rstd
    part = tl.program_id(0).to(tl.int64) * head_dim + at
    tl.store(d_gain + part, tl.sum(d_z * normal, 0), mask=at < head_dim)
    d_normal = d_z * tl.load(gain + (sample * head_dim if gains else 0) + at, mask=at < head_dim, other=0.0)[None, :]
    pulled = d_normal - normal * (tl.sum(d_normal * normal, 1) / head_dim)[:, None]
    if centred:
        pulled -= (tl.sum(d_normal, 1) / head_dim)[:, None]
    tl.store(d_x + start + at[None, :], (rstd * pulled).to(d_x.dtype.element_ty), mask=valid)


@triton_jit
def statistics(
    v: tl.tensor, valid: tl.tensor, head_dim: tl.constexpr, centred: tl.constexpr, epsilon: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """The mean that is subtracted from each row and the factor that multiplies it."""
    mean = (tl.sum(v, 1) / head_dim)[:, None] if centred else tl.zeros_like(tl.sum(v, 1))[:, None]
    moved = tl.where(valid, v - mean, 0.0)
    return mean, 1 / tl.sqrt((tl.sum(moved * moved, 1) / head_dim)[:, None] + epsilon)
