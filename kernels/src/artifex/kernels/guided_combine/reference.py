"""Guidance, rescale and dynamic threshold as the formulas read."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.guided_combine.threshold import DynamicThreshold


def reference(
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
        reach = jnp.quantile(jnp.abs(out), threshold.quantile, axis=1, keepdims=True)
        reach = jnp.clip(reach, threshold.limit, threshold.ceiling)
        out = jnp.clip(out, -reach, reach) * (threshold.limit / reach)
    return out.astype(conditional.dtype)


def spread_ratio(of: Float[Array, "b n"], to: Float[Array, "b n"]) -> Float[Array, " b"]:
    """The ratio of two standard deviations; 1 where the second is zero."""
    above, below = _variance(of), _variance(to)
    none, flat = above == 0, below == 0
    ratio = jnp.sqrt(jnp.where(none | flat, 1, above) / jnp.where(flat, 1, below))
    return jnp.where(flat, 1, jnp.where(none, 0, ratio))


def _variance(x: Float[Array, "b n"]) -> Float[Array, " b"]:
    """The variance about a mean that is taken relative to the first element: exactly zero where all are equal."""
    first = x[:, :1]
    mean = first + jnp.mean(x - first, axis=1, keepdims=True)
    return jnp.mean((x - mean) ** 2, axis=1)
