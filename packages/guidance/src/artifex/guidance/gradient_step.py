"""Guidance by a gradient."""

import jax
import jax.numpy as jnp

from artifex.guidance.interval import Interval
from artifex.guidance.scales import Scale, check_scale, factor_at
from artifex.schedules import NoiseLevel, expand, map_x0
from artifex.schedules.shapes import Estimate, X


def check_push(scale: Scale) -> None:
    """Raise a ValueError for a scale that is not finite, or an interval that does not end guidance outside."""
    check_scale(scale)
    if isinstance(scale, Interval) and isinstance(scale.outside, float) and scale.outside != 0:
        raise ValueError(f"a gradient with scale 0 is no guidance: outside must be 0.0, got {scale.outside}")


def gradient_step(estimate: Estimate, slope: X, scale: Scale, level: NoiseLevel[jax.Array]) -> Estimate:
    r"""$x_0 + w\, \frac{\sigma^2}{\alpha} g$, which is $\epsilon - w\, \sigma\, g$; $x_0$ itself where $\alpha = 0$."""
    has_signal = level.alpha > 0
    factor = jnp.where(has_signal, level.sigma**2 / jnp.where(has_signal, level.alpha, 1), 0)
    w = factor_at(scale, level, slope)
    step = w * expand(factor.astype(w.dtype), slope) * slope.astype(w.dtype)
    return map_x0(lambda x0: (x0.astype(w.dtype) + step).astype(x0.dtype), estimate, slope)
