"""The gated residual and its modulated layer norm as Triton kernels: a token is held in registers, whichever way."""

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
    """The sum ``h`` and the modulated norm of it; see ``adaln``."""
    gated = branch is not None

    def forward(*args: Array) -> tuple[Array, ...]:
        x, scale, shift, *more = args
        (b, t, c), tokens = x.shape, shaped(x.shape, x.dtype)
        constants = {"channels": c, "tokens": t, "epsilon": epsilon, "gated": gated, "block": power_of_two(c)}
        # Without a branch its places hold what is never read or written.
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
    """As many as leave each thread no more of a token than it has at 2048 channels."""
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
    """A token."""
    row = tl.program_id(0)
    at = tl.arange(0, block)
    there = at < channels
    place = row.to(tl.int64) * channels + at
    vector = (row // tokens).to(tl.int64) * channels + at
    total = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    if gated:
        weight = tl.load(gate + vector, mask=there, other=0.0)
        total += weight * tl.load(branch + place, mask=there, other=0.0).to(tl.float32)
        rounded = total.to(h.dtype.element_ty)
        tl.store(h + place, rounded, mask=there)
        total = rounded.to(tl.float32)
    normal, _ = norm(total, there, channels, epsilon)
    out = normal * (1 + tl.load(scale + vector, mask=there, other=0.0)) + tl.load(shift + vector, mask=there, other=0.0)
    tl.store(y + place, out.to(y.dtype.element_ty), mask=there)


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
    """Some tokens of a sample, one after another."""
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
        there = inside & (token + tl.zeros_like(at) < tokens)
        place = (sample * tokens + token) * channels + at
        normal, rstd = norm(tl.load(h + place, mask=there, other=0.0).to(tl.float32), inside, channels, epsilon)
        dy = tl.load(d_y + place, mask=there, other=0.0).to(tl.float32)
        d_normal = dy * factor
        mean = tl.sum(d_normal, 0) / channels
        along = tl.sum(d_normal * normal, 0) / channels
        total = tl.load(d_h + place, mask=there, other=0.0).to(tl.float32)
        total += rstd * (d_normal - mean - normal * along)
        tl.store(d_x + place, total.to(d_x.dtype.element_ty), mask=there)
        scales += dy * normal
        shifts += dy
        if gated:
            tl.store(d_branch + place, (total * weight).to(d_branch.dtype.element_ty), mask=there)
            gates += total * tl.load(branch + place, mask=there, other=0.0).to(tl.float32)
    vector = tl.program_id(0).to(tl.int64) * channels + at
    tl.store(d_scale + vector, scales, mask=inside)
    tl.store(d_shift + vector, shifts, mask=inside)
    if gated:
        tl.store(d_gate + vector, gates, mask=inside)


@triton_jit
def norm(h: tl.tensor, there: tl.tensor, channels: tl.constexpr, epsilon: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """Layer norm of the numbers that are ``there``, zeros elsewhere, and its factor."""
    centred = tl.where(there, h - tl.sum(h, 0) / channels, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(centred * centred, 0) / channels + epsilon)
    return centred * rstd, rstd
