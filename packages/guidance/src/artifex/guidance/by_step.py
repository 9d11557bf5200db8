"""Scales by the number of the step: from one end of the walk to the other."""

import math
from collections.abc import Callable
from typing import TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from artifex.guidance.scales import Walk
from artifex.schedules import ByLevel, record, static

S = TypeVar("S", float, Array)
"""A step, and what comes of it: a number gives a number, an array, traced or not, an array."""
Ease = Callable[[Array, int, float | Array, float | Array], Array]


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


@record
class ByStep:
    """A scale by the number of the step, for ``bind``.

    Attributes:
        schedule: ``linear_guidance_schedule``, ``cosine_guidance_schedule``, or a function like them: called as
            ``(step, total_steps, start, end)``.
        start: the scale at the first step.
        end: the scale at the last.
    """

    schedule: Ease
    start: float | Array = 1.0
    end: float | Array = 7.5

    def bind(self, walk: Walk) -> ByLevel:
        """A number for each row of the walk."""
        rows = walk.level.t.shape[0]
        return ByLevel(walk.level.t, self.schedule(jnp.arange(rows), rows, self.start, self.end))


@record
class FirstSteps:
    """1 in the first steps of a walk and 0 in all others, for ``bind``.

    Attributes:
        count: how many, at least 0.

    Raises:
        ValueError: if it is negative.
    """

    count: int = static(default=1)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must be at least 0, got {self.count}")

    def bind(self, walk: Walk) -> ByLevel:
        """A number for each row of the walk."""
        return ByLevel(walk.level.t, np.where(np.arange(walk.level.t.shape[0]) < self.count, 1.0, 0.0))
