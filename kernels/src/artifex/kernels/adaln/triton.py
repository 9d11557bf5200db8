"""The gated residual and its modulated layer norm as Triton kernels that keep a token in registers."""

from functools import partial

import jax
import triton.language as tl
from jaxtyping import Array, Float

from artifex.kernels.adaln.config import DEFAULT, Config
from artifex.kernels.adaln.vjp import with_vjp
from artifex.kernels.platform import Launch, launch, shaped, triton_jit
from artifex.kernels.tiles import power_of_two


@partial(jax.jit, static_argnames=("epsilon", "launch", "config"))
def triton(
    x: Float[Array, "b t c"],
    branch: Float[Array, "b t c"] | None,
    gate: Float[Array, "b c"] | None,
    scale: Float[Array, "b c"],
    shift: Float[Array, "b c"],
    epsilon: float,
    launch: Launch = launch,
    config: Config = DEFAULT,
) -> tuple[Float[Array, "b t c"], Float[Array, "b t c"]]:
    """The sum ``h`` and its modulated norm; see ``adaln``."""
    gated = branch is not None

    def forward(*args: Array) -> tuple[Array, ...]:
        x, scale, shift, *more = args
        (b, t, c), tokens = x.shape, shaped(x.shape, x.dtype)
        constants = {"channels": c, "tokens": t, "epsilon": epsilon, "gated": gated, "block": power_of_two(c)}
        # Without a branch its pointers are never read or written.
        arguments = (x, scale, shift, *(more or (x, scale)))
        out = launch(
            forward_kernel,
            (b * t,),
            arguments,
            (tokens, tokens) if gated else (tokens,) * 2,
            constants,
            warps=_warps(config, c),
            stages=1,
        )
        return out if gated else out[1:]

    def backward(*args: Array) -> tuple[Array, ...]:
        h, scale, *more = args
        branch, gate = more[:-2] or (h, scale)
        (b, t, c), tokens = h.shape, shaped(h.shape, h.dtype)
        parts = -(-t // config.rows)
        vectors = shaped((b, parts, 1, c), scale.dtype)
        constants = {
            "channels": c,
            "tokens": t,
            "parts": parts,
            "epsilon": epsilon,
            "gated": gated,
            "rows": config.rows,
            "block": power_of_two(c),
        }
        out = launch(
            backward_kernel,
            (b * parts,),
            (h, scale, branch, gate, *more[-2:]),
            (tokens, vectors, vectors, tokens, vectors),
            constants,
            warps=_warps(config, c),
            stages=1,
        )
        return out if gated else out[:3]

    return with_vjp(forward, backward, x, branch, gate, scale, shift)


def _warps(config: Config, channels: int) -> int:
    """Enough warps that no thread has more of a token than at 2048 channels."""
    return max(config.warps, min(16, config.warps * power_of_two(channels) // 2048))


@triton_jit
def forward_kernel(
    x: tl.tensor,
    scale: tl.tensor,
    shift: tl.tensor,
    branch: tl.tensor,
    gate: tl.tensor,
    h: tl.tensor,
    y: tl.tensor,
    channels: tl.constexpr,
    tokens: tl.constexpr,
    epsilon: tl.constexpr,
    gated: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Forward for one token."""
    row = tl.program_id(0)
    at = tl.arange(0, block)
    valid = at < channels
    offset = row.to(tl.int64) * channels + at
    vector = (row // tokens).to(tl.int64) * channels + at
    total = tl.load(x + offset, mask=valid, other=0.0).to(tl.float32)
    if gated:
        weight = tl.load(gate + vector, mask=valid, other=0.0)
        total += weight * tl.load(branch + offset, mask=valid, other=0.0).to(tl.float32)
        rounded = total.to(h.dtype.element_ty)
        tl.store(h + offset, rounded, mask=valid)
        total = rounded.to(tl.float32)
    normal, _ = norm(total, valid, channels, epsilon)
    out = normal * (1 + tl.load(scale + vector, mask=valid, other=0.0)) + tl.load(shift + vector, mask=valid, other=0.0)
    tl.store(y + offset, out.to(y.dtype.element_ty), mask=valid)


@triton_jit
def backward_kernel(
    h: tl.tensor,
    scale: tl.tensor,
    branch: tl.tensor,
    gate: tl.tensor,
    d_h: tl.tensor,
    d_y: tl.tensor,
    d_x: tl.tensor,
    d_scale: tl.tensor,
    d_shift: tl.tensor,
    d_branch: tl.tensor,
    d_gate: tl.tensor,
    channels: tl.constexpr,
    tokens: tl.constexpr,
    parts: tl.constexpr,
    epsilon: tl.constexpr,
    gated: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Backward for some tokens of a sample, in sequence."""
    sample = (tl.program_id(0) // parts).to(tl.int64)
    part = tl.program_id(0) % parts
    at = tl.arange(0, block)
    inside = at < channels
    factor = 1 + tl.load(scale + sample * channels + at, mask=inside, other=0.0)
    weight = factor
    if gated:
        weight = tl.load(gate + sample * channels + at, mask=inside, other=0.0)
    scales = tl.zeros([block], tl.float32)
    shifts = tl.zeros([block], tl.float32)
    gates = tl.zeros([block], tl.float32)
    for i in range(rows):
        token = part * rows + i
        valid = inside & (token + tl.zeros_like(at) < tokens)
        offset = (sample * tokens + token) * channels + at
        normal, rstd = norm(tl.load(h + offset, mask=valid, other=0.0).to(tl.float32), inside, channels, epsilon)
        dy = tl.load(d_y + offset, mask=valid, other=0.0).to(tl.float32)
        d_normal = dy * factor
        mean = tl.sum(d_normal, 0) / channels
        along = tl.sum(d_normal * normal, 0) / channels
        total = tl.load(d_h + offset, mask=valid, other=0.0).to(tl.float32)
        total += rstd * (d_normal - mean - normal * along)
        tl.store(d_x + offset, total.to(d_x.dtype.element_ty), mask=valid)
        scales += dy * normal
        shifts += dy
        if gated:
            tl.store(d_branch + offset, (total * weight).to(d_branch.dtype.element_ty), mask=valid)
            gates += total * tl.load(branch + offset, mask=valid, other=0.0).to(tl.float32)
    vector = tl.program_id(0).to(tl.int64) * channels + at
    tl.store(d_scale + vector, scales, mask=inside)
    tl.store(d_shift + vector, shifts, mask=inside)
    if gated:
        tl.store(d_gate + vector, gates, mask=inside)


@triton_jit
def norm(h: tl.tensor, valid: tl.tensor, channels: tl.constexpr, epsilon: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """Layer norm of the ``valid`` elements, zeros elsewhere, and its factor."""
    centred = tl.where(valid, h - tl.sum(h, 0) / channels, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(centred * centred, 0) / channels + epsilon)
    return centred * rstd, rstd
