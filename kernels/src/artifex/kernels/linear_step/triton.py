"""The weighted sum as a Triton kernel that draws its own noise."""

from collections.abc import Sequence
from functools import partial

import jax
import triton.language as tl
from jaxtyping import Array, Float, Key

from artifex.kernels.linear_step.config import DEFAULT, Config
from artifex.kernels.linear_step.noise import KeyWords, Noise
from artifex.kernels.linear_step.support import MAX_TERMS
from artifex.kernels.linear_step.vjp import Rows, with_vjp
from artifex.kernels.platform import Launch, launch, shaped, triton_jit


@partial(jax.jit, static_argnames=("clip", "noise", "launch", "config"))
def triton(
    terms: Sequence[Float[Array, "b *d"]],
    weights: Float[Array, "b k"],
    noise_scale: Float[Array, " b"] | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
    launch: Launch = launch,
    config: Config = DEFAULT,
) -> Float[Array, "b *d"]:
    """``clip(sum_j weights[:, j] terms[j] + noise_scale z)``; see ``linear_step``."""
    kernel = partial(_rows, clip=clip, noise=noise, launch=launch, config=config)
    return with_vjp(kernel, terms, weights, noise_scale, keys, clip, noise)


def _rows(
    rows: Rows,
    weights: Float[Array, "b k"],
    noise_scale: Float[Array, " b"] | None,
    seeds: KeyWords | None,
    clip: float | None,
    noise: Noise,
    launch: Launch,
    config: Config,
) -> tuple[Float[Array, "b n"]]:
    """One sample per row."""
    drawn = () if noise_scale is None or seeds is None else (noise_scale, seeds)
    b, n = rows[0].shape
    block = min(config.block, max(128, 1 << (n - 1).bit_length()))
    blocks = -(-n // block)
    constants = {
        "n": n,
        "blocks": blocks,
        "terms": len(rows),
        "threefry": bool(drawn) and noise == "key",
        "philox": bool(drawn) and noise == "philox",
        "clip": 0.0 if clip is None else clip,
        "block": block,
    }
    unused = (rows[0],) * (MAX_TERMS - len(rows))
    arguments = (*rows, *unused, weights, *(drawn or (weights, weights)))
    (out,) = launch(
        step_kernel, (b * blocks,), arguments, (shaped((b, n), rows[0].dtype),), constants, warps=config.warps, stages=1
    )
    return (out,)


@triton_jit
def step_kernel(
    t0: tl.tensor,
    t1: tl.tensor,
    t2: tl.tensor,
    t3: tl.tensor,
    t4: tl.tensor,
    t5: tl.tensor,
    t6: tl.tensor,
    t7: tl.tensor,
    weights: tl.tensor,
    scale: tl.tensor,
    seeds: tl.tensor,
    out: tl.tensor,
    n: tl.constexpr,
    blocks: tl.constexpr,
    terms: tl.constexpr,
    threefry: tl.constexpr,
    philox: tl.constexpr,
    clip: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """A block of one sample; ``clip`` 0 means none."""
    row = tl.program_id(0) // blocks
    start = tl.program_id(0) % blocks * block
    at = start + tl.arange(0, block)
    valid = at < n
    offset = row.to(tl.int64) * n + at
    w = weights + row * terms
    total = tl.load(w) * tl.load(t0 + offset, mask=valid).to(tl.float32)
    if terms > 1:
        total += tl.load(w + 1) * tl.load(t1 + offset, mask=valid).to(tl.float32)
    if terms > 2:
        total += tl.load(w + 2) * tl.load(t2 + offset, mask=valid).to(tl.float32)
    if terms > 3:
        total += tl.load(w + 3) * tl.load(t3 + offset, mask=valid).to(tl.float32)
    if terms > 4:
        total += tl.load(w + 4) * tl.load(t4 + offset, mask=valid).to(tl.float32)
    if terms > 5:
        total += tl.load(w + 5) * tl.load(t5 + offset, mask=valid).to(tl.float32)
    if terms > 6:
        total += tl.load(w + 6) * tl.load(t6 + offset, mask=valid).to(tl.float32)
    if terms > 7:
        total += tl.load(w + 7) * tl.load(t7 + offset, mask=valid).to(tl.float32)
    if threefry:
        word = threefry_words(tl.load(seeds + row * 2), tl.load(seeds + row * 2 + 1), at.to(tl.uint32))
        total += tl.load(scale + row) * threefry_normal(word)
    if philox:
        low, high = tl.load(seeds + row * 2).to(tl.uint64), tl.load(seeds + row * 2 + 1).to(tl.uint64)
        counter = start // 4 + tl.arange(0, block // 4)
        z0, z1, z2, z3 = tl.randn4x(low | (high << 32), counter)
        # The four numbers of a counter are adjacent, as a thread stores them.
        total += tl.load(scale + row) * tl.interleave(tl.interleave(z0, z2), tl.interleave(z1, z3))
    if clip > 0:
        total = tl.minimum(tl.maximum(total, -clip), clip)
    tl.store(out + offset, total.to(out.dtype.element_ty), mask=valid)


@triton_jit
def threefry_words(k0: tl.tensor, k1: tl.tensor, i: tl.tensor) -> tl.tensor:
    """``threefry.words``."""
    a, b, c = k0, k1, k0 ^ k1 ^ 0x1BD11BDA
    x = tl.zeros_like(i) + a
    y = i + b
    for group in tl.static_range(5):
        if group % 2 == 0:
            x, y = _mix(x, y, 13)
            x, y = _mix(x, y, 15)
            x, y = _mix(x, y, 26)
            x, y = _mix(x, y, 6)
        else:
            x, y = _mix(x, y, 17)
            x, y = _mix(x, y, 29)
            x, y = _mix(x, y, 16)
            x, y = _mix(x, y, 24)
        a, b, c = b, c, a
        x += a
        y += b + (group + 1)
    return x ^ y


@triton_jit
def _mix(x: tl.tensor, y: tl.tensor, by: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """One round of threefry."""
    x += y
    return x, x ^ ((y << by) | (y >> (32 - by)))


@triton_jit
def threefry_normal(word: tl.tensor) -> tl.tensor:
    """``threefry.normal``."""
    u = (word >> 9).to(tl.float32) * 2.384185791015625e-07 - 0.999999940395355224609375
    w = -tl.log((1 - u) * (1 + u))
    y = w - 2.5
    p = 2.81022636e-08 * y + 3.43273939e-07
    p = p * y - 3.5233877e-06
    p = p * y - 4.39150654e-06
    p = p * y + 0.00021858087
    p = p * y - 0.00125372503
    p = p * y - 0.00417768164
    p = p * y + 0.246640727
    p = p * y + 1.50140941
    y = tl.sqrt(w) - 3
    q = -0.000200214257 * y + 0.000100950558
    q = q * y + 0.00134934322
    q = q * y - 0.00367342844
    q = q * y + 0.00573950773
    q = q * y - 0.0076224613
    q = q * y + 0.00943887047
    q = q * y + 1.00167406
    q = q * y + 2.83297682
    return u * tl.where(w < 5, p, q) * 1.4142135623730951
