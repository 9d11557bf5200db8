"""Guidance by a gradient: climb what is wanted."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.guidance.scales import Scale, scale_at
from artifex.schedules import Estimate, NoiseLevel, expand, on_clean

X = Float[Array, "b *d"]


def climb(estimate: Estimate, slope: X, scale: Scale, level: NoiseLevel[jax.Array]) -> Estimate:
    r"""$x_0 + w\, \frac{\sigma^2}{\alpha} g$, which is $\epsilon - w\, \sigma\, g$; $x_0$ itself where $\alpha = 0$."""
    known = level.alpha > 0
    factor = jnp.where(known, level.sigma**2 / jnp.where(known, level.alpha, 1), 0)
    step = scale_at(scale, level, slope) * expand(factor, slope) * slope
    return on_clean(lambda x0: (x0 + step).astype(x0.dtype), estimate, slope)
