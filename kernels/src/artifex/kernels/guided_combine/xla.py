"""Guidance by XLA: fused passes, and order statistics by counting instead of a sort."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from artifex.kernels.guided_combine.reference import spread_ratio
from artifex.kernels.guided_combine.threshold import DynamicThreshold


@partial(jax.jit, static_argnames="threshold")
def xla(
    conditional: Float[Array, "b n"],
    unconditional: Float[Array, "b n"],
    scale: Float[Array, " b"],
    rescale: Float[Array, " b"] | None,
    threshold: DynamicThreshold | None,
) -> Float[Array, "b n"]:
    """One sample per row; see ``guided_combine``."""
    wide = scale.dtype
    c, u = conditional.astype(wide), unconditional.astype(wide)
    out = c + (scale[:, None] - 1) * (c - u)
    if rescale is not None:
        out = out * (1 + rescale * (spread_ratio(c, out) - 1))[:, None]
    if threshold is not None:
        reach = quantile(jnp.abs(out), threshold)[:, None]
        reach = jnp.clip(reach, threshold.limit, threshold.ceiling)
        out = jnp.clip(out, -reach, reach) * (threshold.limit / reach)
    return out.astype(conditional.dtype)


def quantile(x: Float[Array, "b n"], threshold: DynamicThreshold) -> Float[Array, " b"]:
    """The quantile of each row of nonnegative ``x``; its gradient goes to the two elements that it lies between.

    Nonnegative floats have the order of the integers with their bits, so the element with ``below`` smaller ones is
    found bit by bit: a bit is set if at most ``below`` elements are smaller than the result. The counts cost less
    than a sort.
    """
    n = x.shape[1]
    below, share = threshold.position(n)
    width = 8 * x.dtype.itemsize
    bits: Int[Array, "b n"] = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x), jnp.dtype(f"int{width}"))

    def set_bit(i: Int[Array, ""], found: Int[Array, " b"]) -> Int[Array, " b"]:
        more = found | (jnp.ones_like(found) << (width - 2 - i).astype(found.dtype))
        return jnp.where(jnp.sum(bits < more[:, None], axis=1) <= below, more, found)

    found = jax.lax.fori_loop(0, width - 1, set_bit, jnp.zeros(x.shape[0], bits.dtype))
    upper = bits > found[:, None]
    many = n - jnp.sum(upper, axis=1) > below + 1
    lower = jnp.take_along_axis(x, jnp.argmax(bits == found[:, None], axis=1)[:, None], axis=1)[:, 0]
    next_one = jnp.min(jnp.where(upper, x, jnp.inf), axis=1)
    return lower + share * (jnp.where(many | (share == 0), lower, next_one) - lower)
