"""Attention by Triton for NVIDIA GPUs, through jax-triton; interpreted and compiled, but not run on a GPU."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from artifex.kernels import platform
from artifex.kernels.attention.config import Tile, TritonTiles, triton_tiles
from artifex.kernels.attention.triton_kernels import forward_kernel, keys_kernel, queries_kernel
from artifex.kernels.attention.vjp import Inputs, with_vjp
from artifex.kernels.platform import Constants, Launch, TritonKernel, shaped


@partial(jax.jit, static_argnames=("is_causal", "scale", "launch", "tiles"))
def triton(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    bias: Float[Array, "#b #h #t #s"] | None,
    mask: Bool[Array, "#b #h #t #s"] | None,
    segments: tuple[Int[Array, "b t"], Int[Array, "b s"]] | None,
    is_causal: bool,
    scale: float,
    launch: Launch = platform.launch,
    tiles: TritonTiles | None = None,
) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
    """The output and the log-sum-exp; see ``attention``. ``launch`` and ``tiles`` are for tests and tuning."""
    chosen = triton_tiles(q.shape[-1], v.shape[-1], q.dtype.itemsize) if tiles is None else tiles
    given = (bias is not None, mask is not None, segments is not None, is_causal)

    def forward(x: Inputs) -> tuple[Array, ...]:
        q, _, v, *_ = arrays = _filled(x)
        b, t, h, _ = q.shape
        out = shaped((b, t, h, v.shape[-1]), v.dtype), shaped((b, h, t), jnp.float32)
        grid = (b * h * -(-t // chosen.forward.queries),)
        return _run(launch, forward_kernel, grid, arrays, out, chosen.forward, given, scale)

    def backward(x: Inputs, d_out: Array, lse: Array, delta: Array) -> tuple[Array, ...]:
        q, k, v, *_ = arrays = (*_filled(x), d_out, lse, delta)
        (b, t, h, _), s = q.shape, k.shape[1]
        d_q, d_k, d_v = (shaped(y.shape, y.dtype) for y in (q, k, v))
        grid = (b * h * -(-t // chosen.queries.queries),)
        by_tokens = _run(launch, queries_kernel, grid, arrays, (d_q,), chosen.queries, given, scale)
        grid = (b * h * -(-s // chosen.keys.keys),)
        return by_tokens + _run(launch, keys_kernel, grid, arrays, (d_k, d_v), chosen.keys, given, scale)

    return with_vjp(forward, backward, is_causal, scale)(Inputs(q, k, v, bias, mask, segments))


def constants(
    x: Sequence[jax.ShapeDtypeStruct | Array], given: tuple[bool, bool, bool, bool], tile: Tile, scale: float
) -> Constants:
    """The constants of the kernels, from the shapes of q, k, v, bias and mask."""
    q, k, v, bias, mask, *_ = x
    _, t, h, d = q.shape
    return {
        "sizes": (t, k.shape[1], h, d, v.shape[-1]),
        "parts": (*split(d), *split(v.shape[-1])),
        "strides": (*_strides(bias.shape), *_strides(mask.shape)),
        "given": given,
        "tile": (tile.queries, tile.keys),
        "scale": scale,
    }


def split(width: int) -> tuple[int, int]:
    """``width`` as a sum of two tile widths of Triton: 72 is 64 + 16, 64 is 64 + 0; 16 is the narrowest."""
    whole = max(16, 1 << (width - 1).bit_length())
    first = whole // 2
    rest = max(16, 1 << (width - first - 1).bit_length())
    return (first, rest) if first >= 16 and first + rest < whole else (whole, 0)


def _run(
    launch: Launch,
    kernel: TritonKernel,
    grid: tuple[int, ...],
    x: tuple[Array, ...],
    out: tuple[jax.ShapeDtypeStruct, ...],
    tile: Tile,
    given: tuple[bool, bool, bool, bool],
    scale: float,
) -> tuple[Array, ...]:
    return launch(kernel, grid, x, out, constants(x, given, tile, scale), warps=tile.warps, stages=tile.stages)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a broadcast array: 0 along axes of size 1."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(0 if n == 1 else step)
        step *= n
    return tuple(reversed(strides))


def _filled(x: Inputs) -> tuple[Array, ...]:
    """All arrays that a kernel has pointers for, with a single element for each that is None."""
    number = jnp.zeros((1, 1, 1, 1), jnp.int8)
    q_segments, k_segments = (number[0, 0], number[0, 0]) if x.segments is None else x.segments
    return (
        x.q,
        x.k,
        x.v,
        number if x.bias is None else x.bias,
        number if x.mask is None else x.mask.astype(jnp.int8),
        q_segments,
        k_segments,
    )
