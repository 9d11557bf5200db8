"""The gated residual and its modulated layer norm as Pallas kernels that read each array once."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from artifex.kernels.adaln.config import DEFAULT, Config
from artifex.kernels.adaln.vjp import with_vjp
from artifex.kernels.platform import Target, pallas_call, shaped
from artifex.kernels.tiles import ceil_to, padded, tile, tile_rows


@partial(jax.jit, static_argnames=("epsilon", "target", "config"))
def pallas(
    x: Float[Array, "b t c"],
    branch: Float[Array, "b t c"] | None,
    gate: Float[Array, "b c"] | None,
    scale: Float[Array, "b c"],
    shift: Float[Array, "b c"],
    epsilon: float,
    target: Target | None = None,
    config: Config = DEFAULT,
) -> tuple[Float[Array, "b t c"], Float[Array, "b t c"]]:
    """The sum ``h`` and its modulated norm; see ``adaln``."""
    (_, t, c), wide = x.shape, scale.dtype
    width = tile(c, target)
    rows = tile_rows(config.numbers, width, t, target)
    length = ceil_to(t, rows)
    tokens = pl.BlockSpec((None, rows, width), lambda i, j: (i, j, 0))
    vector = pl.BlockSpec((None, 1, width), lambda i, j: (i, 0, 0))
    part = pl.BlockSpec((None, None, 1, width), lambda i, j: (i, j, 0, 0))

    def call(backward: bool, *args: Array) -> tuple[Array, ...]:
        """Run a kernel on arrays padded to whole tiles and slice its results."""
        gated, b = branch is not None, args[0].shape[0]
        like_tokens, parts = shaped((b, length, width), x.dtype), shaped((b, length // rows, 1, width), wide)
        if backward:
            kernel, name = partial(_backward, channels=c, epsilon=epsilon, gated=gated), "adaln_backward"
            out = [tokens, part, part] + ([tokens, part] if gated else [])
        else:
            kernel, name = partial(_forward, channels=c, epsilon=epsilon, gated=gated), "adaln_forward"
            out = [tokens, tokens] if gated else [tokens]
        filled = pallas_call(
            kernel,
            target,
            grid=(b, length // rows),
            in_specs=[tokens if a.ndim == 3 else vector for a in args],
            out_specs=out,
            out_shape=[like_tokens if spec is tokens else parts for spec in out],
            name=name,
            warps=config.warps,
        )(*(padded(a, length, width) if a.ndim == 3 else padded(a[:, None], width) for a in args))
        return tuple(a[:, :t, :c] if a.ndim == 3 else a[..., :c] for a in filled)

    return with_vjp(partial(call, False), partial(call, True), x, branch, gate, scale, shift)


def _forward(
    x: jax.Ref, scale: jax.Ref, shift: jax.Ref, *rest: jax.Ref, channels: int, epsilon: float, gated: bool
) -> None:
    """Forward for some tokens of a sample."""
    wide, y = scale.dtype, rest[-1]
    h = x[...].astype(wide)
    if gated:
        branch, gate, out = rest[:3]
        out[...] = (h + gate[...] * branch[...].astype(wide)).astype(out.dtype)
        h = out[...].astype(wide)
    normal, _ = _norm(h, channels, epsilon)
    y[...] = (normal * (1 + scale[...]) + shift[...]).astype(y.dtype)


def _backward(h: jax.Ref, scale: jax.Ref, *rest: jax.Ref, channels: int, epsilon: float, gated: bool) -> None:
    """Backward for some tokens of a sample; padding adds zero to the sums over tokens."""
    wide = scale.dtype
    if gated:
        branch, gate, d_h, d_y, d_x, d_scale, d_shift, d_branch, d_gate = rest
    else:
        d_h, d_y, d_x, d_scale, d_shift = rest
    normal, rstd = _norm(h[...].astype(wide), channels, epsilon)
    dy = d_y[...].astype(wide)
    d_normal = dy * (1 + scale[...])
    mean = jnp.sum(d_normal, -1, keepdims=True) / channels
    along = jnp.sum(d_normal * normal, -1, keepdims=True) / channels
    total = d_h[...].astype(wide) + rstd * (d_normal - mean - normal * along)
    d_x[...] = total.astype(d_x.dtype)
    d_scale[...] = jnp.sum(dy * normal, 0, keepdims=True)
    d_shift[...] = jnp.sum(dy, 0, keepdims=True)
    if gated:
        d_branch[...] = (total * gate[...]).astype(d_branch.dtype)
        d_gate[...] = jnp.sum(total * branch[...].astype(wide), 0, keepdims=True)


def _norm(h: Array, channels: int, epsilon: float) -> tuple[Array, Array]:
    """Layer norm of the first ``channels`` columns, zeros elsewhere, and the factor of each row."""
    valid = lax.broadcasted_iota(jnp.int32, h.shape, 1) < channels
    centred = jnp.where(valid, h - jnp.sum(h, -1, keepdims=True) / channels, 0)
    rstd = lax.rsqrt(jnp.sum(centred * centred, -1, keepdims=True) / channels + epsilon)
    return centred * rstd, rstd
