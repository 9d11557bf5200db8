"""How strong guidance is: a number, one a sample, or a function of the noise level."""

import math
from collections.abc import Callable
from typing import TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.schedules import Host, NoiseLevel, expand

X = Float[Array, "b *d"]
S = TypeVar("S", float, Array)
"""A step, and what comes of it: a number gives a number, an array, traced or not, an array."""

Scale = float | Array | Host | Callable[[NoiseLevel[jax.Array]], Array]
"""A guidance scale: one number, one a sample, or a function of the noise level."""


def check_scale(scale: Scale) -> None:
    """Raises a ValueError for a scale that is known to be no finite number, or more than one a sample."""
    if callable(scale) or isinstance(scale, jax.core.Tracer):
        return
    known = np.asarray(scale)
    if known.ndim > 1 or not np.all(np.isfinite(known)):
        got = scale if known.ndim == 0 else f"{known[~np.isfinite(known)]} in shape {known.shape}"
        raise ValueError(f"scale must be one finite number, or one a sample, got {got}")


def scale_at(scale: Scale, level: NoiseLevel[jax.Array], like: X) -> Array:
    """The scale at ``level``, shaped to multiply ``like``.

    Raises:
        ValueError: if it is neither one number nor one a sample.
    """
    value = jnp.asarray(scale(level) if callable(scale) else scale, jnp.promote_types(like.dtype, jnp.float32))
    if value.shape not in ((), like.shape[:1]):
        raise ValueError(f"scale must be one number or one a sample, of shape {like.shape[:1]}, got {value.shape}")
    return expand(value, like)


def linear_guidance_schedule(step: S, total_steps: int, start_scale: S | float = 1.0, end_scale: S | float = 7.5) -> S:
    r"""$(1 - f)\, w_0 + f\, w_1$ with $f = \mathrm{step} / (\mathrm{total} - 1)$: both ends are reached.

    Args:
        step: in [0, total_steps - 1], a number or an array, traced or not.
        total_steps: at least 1; a walk of one step stays at its start.
        start_scale: $w_0$, at step 0.
        end_scale: $w_1$, at step ``total_steps - 1``.

    Raises:
        ValueError: if ``total_steps`` is less than 1, or a step that is known lies outside of its range.
    """
    part = _part(step, total_steps)
    return (1 - part) * start_scale + part * end_scale


def cosine_guidance_schedule(step: S, total_steps: int, start_scale: S | float = 1.0, end_scale: S | float = 7.5) -> S:
    r"""$(1 - g)\, w_0 + g\, w_1$ with $g = (1 - \cos \pi f) / 2$: like the linear one, with level ends.

    Args:
        step: in [0, total_steps - 1], a number or an array, traced or not.
        total_steps: at least 1; a walk of one step stays at its start.
        start_scale: $w_0$, at step 0.
        end_scale: $w_1$, at step ``total_steps - 1``.

    Raises:
        ValueError: if ``total_steps`` is less than 1, or a step that is known lies outside of its range.
    """
    ease = (1 - cast("S", _cos(math.pi * _part(step, total_steps)))) / 2
    return (1 - ease) * start_scale + ease * end_scale


def _part(step: S, total_steps: int) -> S:
    """The part of the walk that is done at ``step``, in [0, 1]."""
    if total_steps < 1:
        raise ValueError(f"total_steps must be at least 1, got {total_steps}")
    if not isinstance(step, jax.core.Tracer):
        known = np.asarray(step)
        if known.size and not (known.min() >= 0 and known.max() < total_steps):
            raise ValueError(f"step must be in [0, {total_steps - 1}], got values from {known.min()} to {known.max()}")
    return step / max(total_steps - 1, 1)


def _cos(x: float | Array) -> float | Array:
    return jnp.cos(x) if isinstance(x, jax.Array) else math.cos(x)
