"""Guidance left to XLA: its fused passes, and order statistics found by counting, where it would sort."""

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
    """One sample a row; see ``guided_combine``."""
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
    """The quantile of each row of ``x``, not negative; its gradient goes to the numbers that it lies between.

    Numbers that are not negative are ordered as the integers that their bits spell, so the one with ``below`` before it
    is found bit by bit: each is set if no more than ``below`` numbers stay under the result. So many counts are cheap
    against a sort.
    """
    n = x.shape[1]
    below, share = threshold.place(n)
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
