"""Guidance as Triton kernels: a program holds one sample, or loops over one that is too large."""

from functools import partial
from typing import Final

import jax
import numpy as np
import triton.language as tl
from jaxtyping import Array, Float

from artifex.kernels.guided_combine.config import DEFAULT, Config
from artifex.kernels.guided_combine.threshold import DynamicThreshold
from artifex.kernels.guided_combine.vjp import with_vjp
from artifex.kernels.platform import Launch, launch, shaped, triton_jit

LARGEST: Final = float(np.finfo(np.float32).max)


@partial(jax.jit, static_argnames=("threshold", "launch", "config"))
def triton(
    conditional: Float[Array, "b n"],
    unconditional: Float[Array, "b n"],
    scale: Float[Array, " b"],
    rescale: Float[Array, " b"] | None,
    threshold: DynamicThreshold | None,
    launch: Launch = launch,
    config: Config = DEFAULT,
) -> Float[Array, "b n"]:
    """One sample per row; see ``guided_combine``."""
    kernel = partial(_rows, threshold=threshold, launch=launch, config=config)
    return with_vjp(kernel, conditional, unconditional, scale, rescale, threshold)


def _rows(
    c: Array,
    u: Array,
    scale: Array,
    rescale: Array | None,
    threshold: DynamicThreshold | None,
    launch: Launch,
    config: Config,
) -> tuple[Float[Array, "b n"]]:
    b, n = c.shape
    block, warps = config.fitted(n)
    bounds = threshold or DynamicThreshold()
    before, share = bounds.position(n)
    constants = {
        "n": n,
        "rescaled": rescale is not None,
        "thresholded": threshold is not None,
        "before": before,
        "share": share,
        "limit": bounds.limit,
        "ceiling": min(bounds.ceiling, LARGEST),
        "block": block,
    }
    kernel = whole_kernel if n <= block else walking_kernel
    out = (shaped((b, n), c.dtype),)
    arguments = (c, u, scale, scale if rescale is None else rescale)
    (filled,) = launch(kernel, (b,), arguments, out, constants, warps=warps, stages=1)
    return (filled,)


@triton_jit
def whole_kernel(
    conditional: tl.tensor,
    unconditional: tl.tensor,
    scale: tl.tensor,
    rescale: tl.tensor,
    out: tl.tensor,
    n: tl.constexpr,
    rescaled: tl.constexpr,
    thresholded: tl.constexpr,
    before: tl.constexpr,
    share: tl.constexpr,
    limit: tl.constexpr,
    ceiling: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Combine a sample that fits into a program."""
    row = tl.program_id(0)
    at = tl.arange(0, block)
    valid = at < n
    offset = row.to(tl.int64) * n + at
    c, g = _guided(conditional, unconditional, offset, valid, tl.load(scale + row))
    if rescaled:
        # Means relative to the first element: the variance of equal ones is exactly 0.
        c_first, g_first = tl.sum(tl.where(at == 0, c, 0.0)), tl.sum(tl.where(at == 0, g, 0.0))
        c_mean = c_first + tl.sum(tl.where(valid, c - c_first, 0.0)) / n
        g_mean = g_first + tl.sum(tl.where(valid, g - g_first, 0.0)) / n
        above = tl.sum(_squares(c, c_mean, valid)) / n
        below = tl.sum(_squares(g, g_mean, valid)) / n
        g *= _factor(above, below, tl.load(rescale + row))
    if thresholded:
        bits = tl.where(valid, tl.abs(g).to(tl.int32, bitcast=True), 2147483647)
        found = tl.full([], 0, tl.int32)
        step = tl.full([], 1 << 30, tl.int32)
        for _ in range(31):
            more = found | step
            found = tl.where(tl.sum((bits < more).to(tl.int32)) <= before, more, found)
            step = step // 2
        many = tl.sum((bits <= found).to(tl.int32)) > before + 1
        upper = tl.min(tl.where(bits > found, bits, 2147483647))
        g = _held(g, _reach(found, upper, many, share, limit, ceiling), limit)
    tl.store(out + offset, g.to(out.dtype.element_ty), mask=valid)


@triton_jit
def walking_kernel(
    conditional: tl.tensor,
    unconditional: tl.tensor,
    scale: tl.tensor,
    rescale: tl.tensor,
    out: tl.tensor,
    n: tl.constexpr,
    rescaled: tl.constexpr,
    thresholded: tl.constexpr,
    before: tl.constexpr,
    share: tl.constexpr,
    limit: tl.constexpr,
    ceiling: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Combine a larger sample: a pass for the means, one for the variances, 32 for the quantile."""
    row = tl.program_id(0)
    base = row.to(tl.int64) * n
    w = tl.load(scale + row)
    factor = tl.full([], 1.0, tl.float32)
    if rescaled:
        # Means relative to the first element: the variance of equal ones is exactly 0.
        at = tl.arange(0, block)
        c, g = _guided(conditional, unconditional, base + at, at < n, w)
        c_first, g_first = tl.sum(tl.where(at == 0, c, 0.0)), tl.sum(tl.where(at == 0, g, 0.0))
        c_sum = tl.zeros([block], tl.float32)
        g_sum = tl.zeros([block], tl.float32)
        for start in range(0, n, block):
            at = start + tl.arange(0, block)
            c, g = _guided(conditional, unconditional, base + at, at < n, w)
            c_sum += tl.where(at < n, c - c_first, 0.0)
            g_sum += tl.where(at < n, g - g_first, 0.0)
        c_mean, g_mean = c_first + tl.sum(c_sum) / n, g_first + tl.sum(g_sum) / n
        c_squares = tl.zeros([block], tl.float32)
        g_squares = tl.zeros([block], tl.float32)
        for start in range(0, n, block):
            at = start + tl.arange(0, block)
            c, g = _guided(conditional, unconditional, base + at, at < n, w)
            c_squares += _squares(c, c_mean, at < n)
            g_squares += _squares(g, g_mean, at < n)
        factor = _factor(tl.sum(c_squares) / n, tl.sum(g_squares) / n, tl.load(rescale + row))
    reach = tl.full([], 1.0, tl.float32)
    if thresholded:
        found = tl.full([], 0, tl.int32)
        step = tl.full([], 1 << 30, tl.int32)
        for _ in range(31):
            more = found | step
            under = tl.zeros([block], tl.int32)
            for start in range(0, n, block):
                at = start + tl.arange(0, block)
                c, g = _guided(conditional, unconditional, base + at, at < n, w)
                bits = tl.abs(g * factor).to(tl.int32, bitcast=True)
                under += ((bits < more) & (at < n)).to(tl.int32)
            found = tl.where(tl.sum(under) <= before, more, found)
            step = step // 2
        upto = tl.zeros([block], tl.int32)
        beyond = tl.full([block], 2147483647, tl.int32)
        for start in range(0, n, block):
            at = start + tl.arange(0, block)
            c, g = _guided(conditional, unconditional, base + at, at < n, w)
            bits = tl.abs(g * factor).to(tl.int32, bitcast=True)
            upto += ((bits <= found) & (at < n)).to(tl.int32)
            beyond = tl.minimum(beyond, tl.where((bits > found) & (at < n), bits, 2147483647))
        reach = _reach(found, tl.min(beyond), tl.sum(upto) > before + 1, share, limit, ceiling)
    for start in range(0, n, block):
        at = start + tl.arange(0, block)
        c, g = _guided(conditional, unconditional, base + at, at < n, w)
        g *= factor
        if thresholded:
            g = _held(g, reach, limit)
        tl.store(out + base + at, g.to(out.dtype.element_ty), mask=at < n)


@triton_jit
def _guided(
    conditional: tl.tensor, unconditional: tl.tensor, offset: tl.tensor, valid: tl.tensor, w: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    """The conditional and the guided elements, zero beyond the end."""
    c = tl.load(conditional + offset, mask=valid, other=0.0).to(tl.float32)
    u = tl.load(unconditional + offset, mask=valid, other=0.0).to(tl.float32)
    return c, c + (w - 1) * (c - u)


@triton_jit
def _squares(x: tl.tensor, mean: tl.tensor, valid: tl.tensor) -> tl.tensor:
    """Squared distances from the mean, zero beyond the end."""
    off = tl.where(valid, x - mean, 0.0)
    return off * off


@triton_jit
def _factor(above: tl.tensor, below: tl.tensor, phi: tl.tensor) -> tl.tensor:
    """The factor that gives the standard deviation of the conditional elements; 1 where it is zero."""
    ratio = tl.where(below == 0, 1.0, tl.sqrt(above / tl.where(below == 0, 1.0, below)))
    return 1 + phi * (ratio - 1)


@triton_jit
def _reach(
    found: tl.tensor,
    upper: tl.tensor,
    many: tl.tensor,
    share: tl.constexpr,
    limit: tl.constexpr,
    ceiling: tl.constexpr,
) -> tl.tensor:
    """The quantile, from the bits of the two elements that it lies between, clipped to its range."""
    lower = found.to(tl.float32, bitcast=True)
    reach = lower
    if share > 0:
        reach += share * (tl.where(many, lower, upper.to(tl.float32, bitcast=True)) - lower)
    return tl.minimum(tl.maximum(reach, limit), ceiling)


@triton_jit
def _held(g: tl.tensor, reach: tl.tensor, limit: tl.constexpr) -> tl.tensor:
    """Clip to the reach, then scale to the limit."""
    return tl.minimum(tl.maximum(g, -reach), reach) * (limit / reach)
