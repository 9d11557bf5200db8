"""Guidance as a Pallas kernel: a program holds one sample and reads it once."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from artifex.kernels.guided_combine.config import DEFAULT, Config
from artifex.kernels.guided_combine.threshold import DynamicThreshold
from artifex.kernels.guided_combine.vjp import with_vjp
from artifex.kernels.platform import Target, pallas_call, shaped


@partial(jax.jit, static_argnames=("threshold", "target", "config"))
def pallas(
    conditional: Float[Array, "b n"],
    unconditional: Float[Array, "b n"],
    scale: Float[Array, " b"],
    rescale: Float[Array, " b"] | None,
    threshold: DynamicThreshold | None,
    target: Target | None = None,
    config: Config = DEFAULT,
) -> Float[Array, "b n"]:
    """One sample per row, copied to the next power of two; see ``guided_combine``."""
    kernel = partial(_rows, threshold=threshold, target=target, config=config)
    return with_vjp(kernel, conditional, unconditional, scale, rescale, threshold)


def _rows(
    conditional: Float[Array, "b n"],
    unconditional: Float[Array, "b n"],
    scale: Float[Array, " b"],
    rescale: Float[Array, " b"] | None,
    threshold: DynamicThreshold | None,
    target: Target | None,
    config: Config,
) -> tuple[Float[Array, "b n"]]:
    b, n = conditional.shape
    size = max(128, 1 << (n - 1).bit_length())
    row, number = (pl.BlockSpec((None, 1, width), lambda i: (i, 0, 0)) for width in (size, 1))
    rows = [jnp.pad(x, ((0, 0), (0, size - n)))[:, None] for x in (conditional, unconditional)]
    numbers = [x[:, None, None] for x in (scale, rescale) if x is not None]
    (out,) = pallas_call(
        partial(_kernel, n=n, threshold=threshold),
        target,
        grid=(b,),
        in_specs=[row] * 2 + [number] * len(numbers),
        out_specs=[row],
        out_shape=[shaped((b, 1, size), conditional.dtype)],
        name="guided_combine",
        warps=max(1, min(config.warps, size // 1024)),
        stages=1,
    )(*rows, *numbers)
    return (out[:, 0, :n],)


def _kernel(
    conditional: jax.Ref,
    unconditional: jax.Ref,
    scale: jax.Ref,
    *refs: jax.Ref,
    n: int,
    threshold: DynamicThreshold | None,
) -> None:
    """One sample of ``n`` elements in a padded row; ``refs`` are ``rescale``, if given, and the result."""
    *rescale, out = refs
    c, u = conditional[...].astype(jnp.float32), unconditional[...].astype(jnp.float32)
    valid = jax.lax.broadcasted_iota(jnp.int32, c.shape, 1) < n
    g = c + (scale[...] - 1) * (c - u)
    for phi in rescale:
        above, below = (_variance(x, valid, n) for x in (c, g))
        ratio = jnp.sqrt(above / jnp.where(below == 0, 1, below))
        g = g * (1 + phi[...] * (jnp.where(below == 0, 1, ratio) - 1))
    if threshold is not None:
        reach = jnp.clip(_quantile(jnp.abs(g), valid, n, threshold), threshold.limit, threshold.ceiling)
        g = jnp.clip(g, -reach, reach) * (threshold.limit / reach)
    out[...] = g.astype(out.dtype)


def _variance(x: Float[Array, "1 n"], valid: Array, n: int) -> Float[Array, "1 1"]:
    """The variance about a mean that is taken relative to the first element: exactly zero where all are equal."""
    first = jnp.sum(jnp.where(jax.lax.broadcasted_iota(jnp.int32, x.shape, 1) == 0, x, 0), axis=1, keepdims=True)
    mean = first + jnp.sum(jnp.where(valid, x - first, 0), axis=1, keepdims=True) / n
    return jnp.sum(jnp.where(valid, (x - mean) ** 2, 0), axis=1, keepdims=True) / n


def _quantile(x: Float[Array, "1 n"], valid: Array, n: int, threshold: DynamicThreshold) -> Float[Array, "1 1"]:
    """The quantile by the method of ``xla.quantile``; padding counts as larger than all."""
    before, share = threshold.position(n)
    bits = jnp.where(valid, jax.lax.bitcast_convert_type(x, jnp.int32), 2**31 - 1)

    def count(limit: Array) -> Array:
        return jnp.sum((bits < limit).astype(jnp.int32), axis=1, keepdims=True)

    def set_bit(i: Array, found: Array) -> Array:
        more = found | jnp.left_shift(jnp.int32(1), 30 - i)
        return jnp.where(count(more) <= before, more, found)

    found = jax.lax.fori_loop(0, 31, set_bit, jnp.zeros((1, 1), jnp.int32))
    many = count(found + 1) > before + 1
    lower = jax.lax.bitcast_convert_type(found, jnp.float32)
    upper = jnp.min(jnp.where((bits > found) & valid, x, jnp.inf), axis=1, keepdims=True)
    return lower + share * (jnp.where(many | (share == 0), lower, upper) - lower)
