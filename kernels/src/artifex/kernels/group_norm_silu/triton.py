"""Group norm and SiLU as Triton kernels, over tiles of pixels and consecutive channels."""

from functools import partial

import jax
import triton.language as tl
from jaxtyping import Array, Float

from artifex.kernels.group_norm_silu.config import DEFAULT, Config
from artifex.kernels.group_norm_silu.vjp import Passes, with_vjp
from artifex.kernels.platform import Launch, TritonKernel, launch, shaped, triton_jit
from artifex.kernels.tiles import power_of_two


@partial(jax.jit, static_argnames=("groups", "epsilon", "silu", "launch", "config"))
def triton(
    x: Float[Array, "b *p c"],
    weight: Float[Array, "b c"],
    bias: Float[Array, "b c"],
    groups: int,
    epsilon: float,
    silu: bool,
    launch: Launch = launch,
    config: Config = DEFAULT,
) -> Float[Array, "b *p c"]:
    """``silu(weight * norm(x) + bias)``; see ``group_norm_silu``."""
    c, p = weight.shape[1], x.size // weight.size
    columns = min(config.columns, power_of_two(c))

    def call(kernel: TritonKernel, tiles: int, *args: Array) -> tuple[Array, ...]:
        """Launch a kernel that sums over several tiles or maps one."""
        b = args[0].shape[0]
        parts = -(-p // (config.rows * tiles))
        constants = {"pixels": p, "channels": c, "parts": parts, "rows": config.rows, "columns": columns}
        constants |= {"tiles": tiles} if tiles > 1 or kernel in (moments_kernel, sums_kernel) else {}
        constants |= {} if kernel is moments_kernel else {"silu": silu}
        vector = shaped((b, parts, 1, c), weight.dtype)
        image = shaped(args[0].shape, args[0].dtype)
        out = (vector, vector) if "tiles" in constants else (image,)
        return launch(kernel, (b * parts, -(-c // columns)), args, out, constants, warps=config.warps, stages=1)

    passes = Passes(
        moments=partial(call, moments_kernel, config.tiles),
        part=config.rows * config.tiles,
        apply=partial(call, apply_kernel, 1),
        sums=partial(call, sums_kernel, config.tiles),
        pull=partial(call, pull_kernel, 1),
    )
    return with_vjp(passes, x, weight, bias, groups, epsilon)


@triton_jit
def moments_kernel(
    x: tl.tensor,
    means: tl.tensor,
    squares: tl.tensor,
    pixels: tl.constexpr,
    channels: tl.constexpr,
    parts: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    tiles: tl.constexpr,
) -> None:
    """Moments of some pixels, from differences to the first: a large mean does not cancel the variance."""
    sample, start = (tl.program_id(0) // parts).to(tl.int64), tl.program_id(0) % parts * (rows * tiles)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    inside = column < channels
    image = x + sample * pixels * channels
    pivot = tl.load(image + start.to(tl.int64) * channels + column, mask=inside, other=0.0).to(tl.float32)
    first = tl.zeros([columns], tl.float32)
    second = tl.zeros([columns], tl.float32)
    for i in range(tiles):
        row = start + i * rows + tl.arange(0, rows)
        valid = (row < pixels)[:, None] & inside[None, :]
        value = tl.load(image + row.to(tl.int64)[:, None] * channels + column[None, :], mask=valid, other=0.0)
        moved = tl.where(valid, value.to(tl.float32) - pivot[None, :], 0.0)
        first += tl.sum(moved, 0)
        second += tl.sum(moved * moved, 0)
    mean = first / tl.minimum(pixels - start, rows * tiles)
    vector = tl.program_id(0).to(tl.int64) * channels + column
    tl.store(means + vector, pivot + mean, mask=inside)
    tl.store(squares + vector, second - mean * first, mask=inside)


@triton_jit
def apply_kernel(
    x: tl.tensor,
    a: tl.tensor,
    m: tl.tensor,
    y: tl.tensor,
    pixels: tl.constexpr,
    channels: tl.constexpr,
    parts: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    silu: tl.constexpr,
) -> None:
    """The multiply-add and the SiLU."""
    sample, start = (tl.program_id(0) // parts).to(tl.int64), tl.program_id(0) % parts * rows
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    row = start + tl.arange(0, rows)
    valid = (row < pixels)[:, None] & (column < channels)[None, :]
    offset = (sample * pixels + row)[:, None] * channels + column[None, :]
    vector = sample * channels + column
    scale = tl.load(a + vector, mask=column < channels, other=0.0)
    shift = tl.load(m + vector, mask=column < channels, other=0.0)
    u = scale[None, :] * tl.load(x + offset, mask=valid, other=0.0).to(tl.float32) + shift[None, :]
    if silu:
        u *= tl.sigmoid(u)
    tl.store(y + offset, u.to(y.dtype.element_ty), mask=valid)


@triton_jit
def sums_kernel(
    x: tl.tensor,
    d_y: tl.tensor,
    a: tl.tensor,
    m: tl.tensor,
    mean: tl.tensor,
    rstd: tl.tensor,
    d_bias: tl.tensor,
    d_weight: tl.tensor,
    pixels: tl.constexpr,
    channels: tl.constexpr,
    parts: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    tiles: tl.constexpr,
    silu: tl.constexpr,
) -> None:
    """Sums over some pixels."""
    sample, start = (tl.program_id(0) // parts).to(tl.int64), tl.program_id(0) % parts * (rows * tiles)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    inside = column < channels
    vector = sample * channels + column
    scale, shift = tl.load(a + vector, mask=inside, other=0.0), tl.load(m + vector, mask=inside, other=0.0)
    center, factor = tl.load(mean + vector, mask=inside, other=0.0), tl.load(rstd + vector, mask=inside, other=0.0)
    first = tl.zeros([columns], tl.float32)
    second = tl.zeros([columns], tl.float32)
    for i in range(tiles):
        row = start + i * rows + tl.arange(0, rows)
        valid = (row < pixels)[:, None] & inside[None, :]
        offset = (sample * pixels + row)[:, None] * channels + column[None, :]
        value = tl.load(x + offset, mask=valid, other=0.0).to(tl.float32)
        d_u = tl.load(d_y + offset, mask=valid, other=0.0).to(tl.float32)
        if silu:
            d_u *= slope(scale[None, :] * value + shift[None, :])
        first += tl.sum(d_u, 0)
        second += tl.sum(d_u * ((value - center[None, :]) * factor[None, :]), 0)
    out = tl.program_id(0).to(tl.int64) * channels + column
    tl.store(d_bias + out, first, mask=inside)
    tl.store(d_weight + out, second, mask=inside)


@triton_jit
def pull_kernel(
    x: tl.tensor,
    d_y: tl.tensor,
    a: tl.tensor,
    m: tl.tensor,
    p: tl.tensor,
    q: tl.tensor,
    d_x: tl.tensor,
    pixels: tl.constexpr,
    channels: tl.constexpr,
    parts: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    silu: tl.constexpr,
) -> None:
    """The cotangent of some pixels."""
    sample, start = (tl.program_id(0) // parts).to(tl.int64), tl.program_id(0) % parts * rows
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    inside = column < channels
    row = start + tl.arange(0, rows)
    valid = (row < pixels)[:, None] & inside[None, :]
    offset = (sample * pixels + row)[:, None] * channels + column[None, :]
    vector = sample * channels + column
    scale, shift = tl.load(a + vector, mask=inside, other=0.0), tl.load(m + vector, mask=inside, other=0.0)
    linear, constant = tl.load(p + vector, mask=inside, other=0.0), tl.load(q + vector, mask=inside, other=0.0)
    value = tl.load(x + offset, mask=valid, other=0.0).to(tl.float32)
    d_u = tl.load(d_y + offset, mask=valid, other=0.0).to(tl.float32)
    if silu:
        d_u *= slope(scale[None, :] * value + shift[None, :])
    out = scale[None, :] * d_u + (linear[None, :] * value + constant[None, :])
    tl.store(d_x + offset, out.to(d_x.dtype.element_ty), mask=valid)


@triton_jit
def slope(u: tl.tensor) -> tl.tensor:
    """The derivative of the SiLU at ``u``."""
    s = tl.sigmoid(u)
    return s * (1 + u * (1 - s))
