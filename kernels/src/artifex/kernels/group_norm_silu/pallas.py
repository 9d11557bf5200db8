"""Group norm and SiLU as Pallas kernels, over tiles of pixels with all their channels."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from artifex.kernels.group_norm_silu.config import DEFAULT, Config
from artifex.kernels.group_norm_silu.vjp import Passes, with_vjp
from artifex.kernels.platform import Target, pallas_call, shaped
from artifex.kernels.tiles import ceil_to, padded, tile, tile_rows


@partial(jax.jit, static_argnames=("groups", "epsilon", "silu", "target", "config"))
def pallas(
    x: Float[Array, "b *p c"],
    weight: Float[Array, "b c"],
    bias: Float[Array, "b c"],
    groups: int,
    epsilon: float,
    silu: bool,
    target: Target | None = None,
    config: Config = DEFAULT,
) -> Float[Array, "b *p c"]:
    """``silu(weight * norm(x) + bias)``; see ``group_norm_silu``."""
    c, p = weight.shape[1], x.size // weight.size
    width = tile(c, target)
    rows = tile_rows(config.numbers, width, p, target)
    length = ceil_to(p, rows)
    pixels = pl.BlockSpec((None, rows, width), lambda i, j: (i, j, 0))
    vector = pl.BlockSpec((None, 1, width), lambda i, j: (i, 0, 0))
    part = pl.BlockSpec((None, None, 1, width), lambda i, j: (i, j, 0, 0))

    def call(kernel: Callable[..., None], out: pl.BlockSpec, count: int, *args: Array) -> tuple[Array, ...]:
        """Run a kernel on arrays padded to whole tiles and slice its results."""
        b = args[0].shape[0]
        image, parts = shaped((b, length, width), x.dtype), shaped((b, length // rows, 1, width), weight.dtype)
        filled = pallas_call(
            kernel,
            target,
            grid=(b, length // rows),
            in_specs=[pixels if v.ndim == 3 else vector for v in args],
            out_specs=[out] * count,
            out_shape=[image if out is pixels else parts] * count,
            name=f"group_norm_silu{getattr(kernel, 'func', kernel).__name__}",
            warps=config.warps,
        )(*(padded(v, length, width) if v.ndim == 3 else padded(v[:, None], width) for v in args))
        return tuple(v[:, :p, :c] if out is pixels else v[..., :c] for v in filled)

    passes = Passes(
        moments=partial(call, partial(_moments, pixels=p), part, 2),
        part=rows,
        apply=partial(call, partial(_apply, silu=silu), pixels, 1),
        sums=partial(call, partial(_sums, silu=silu), part, 2),
        pull=partial(call, partial(_pull, silu=silu), pixels, 1),
    )
    return with_vjp(passes, x, weight, bias, groups, epsilon)


def _moments(x: jax.Ref, means: jax.Ref, squares: jax.Ref, *, pixels: int) -> None:
    """Moments of some pixels, without the padding."""
    wide = x[...].astype(means.dtype)
    rows = wide.shape[0]
    start = pl.program_id(1) * rows
    valid = start + lax.broadcasted_iota(jnp.int32, wide.shape, 0) < pixels
    mean = jnp.sum(jnp.where(valid, wide, 0), 0, keepdims=True) / jnp.minimum(rows, pixels - start).astype(wide.dtype)
    centred = jnp.where(valid, wide - mean, 0)
    means[...] = mean
    squares[...] = jnp.sum(centred * centred, 0, keepdims=True)


def _apply(x: jax.Ref, a: jax.Ref, m: jax.Ref, y: jax.Ref, *, silu: bool) -> None:
    """The multiply-add and the SiLU."""
    u = a[...] * x[...].astype(a.dtype) + m[...]
    y[...] = (u * jax.nn.sigmoid(u) if silu else u).astype(y.dtype)


def _sums(
    x: jax.Ref,
    d_y: jax.Ref,
    a: jax.Ref,
    m: jax.Ref,
    mean: jax.Ref,
    rstd: jax.Ref,
    d_bias: jax.Ref,
    d_weight: jax.Ref,
    *,
    silu: bool,
) -> None:
    """Sums over some pixels; the cotangents of the padding are zeros."""
    wide, d_u = _cotangent(x, d_y, a, m, silu)
    d_bias[...] = jnp.sum(d_u, 0, keepdims=True)
    d_weight[...] = jnp.sum(d_u * ((wide - mean[...]) * rstd[...]), 0, keepdims=True)


def _pull(
    x: jax.Ref, d_y: jax.Ref, a: jax.Ref, m: jax.Ref, p: jax.Ref, q: jax.Ref, d_x: jax.Ref, *, silu: bool
) -> None:
    """The cotangent of some pixels."""
    wide, d_u = _cotangent(x, d_y, a, m, silu)
    d_x[...] = (a[...] * d_u + (p[...] * wide + q[...])).astype(d_x.dtype)


def _cotangent(x: jax.Ref, d_y: jax.Ref, a: jax.Ref, m: jax.Ref, silu: bool) -> tuple[Array, Array]:
    """``x`` in the wide dtype and the cotangent of ``u = a x + m``."""
    wide, d_u = x[...].astype(a.dtype), d_y[...].astype(a.dtype)
    if silu:
        u = a[...] * wide + m[...]
        s = jax.nn.sigmoid(u)
        d_u = d_u * (s * (1 + u * (1 - s)))
    return wide, d_u
