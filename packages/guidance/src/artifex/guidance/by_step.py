"""Guidance scales by the index of the step."""

import math
from collections.abc import Callable
from typing import TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from artifex.guidance.scales import TableauLike
from artifex.kernels.ranges import check_number, check_whole
from artifex.schedules import ValueByTime
from artifex.schedules.arrays import HostArray, record, static

S = TypeVar("S", float, Array)
"""A step and its scale: a number gives a number, an array, traced or not, an array."""
Ease = Callable[[Array, int, float | Array, float | Array], Array]


def linear_guidance_schedule(step: S, total_steps: int, start_scale: S | float = 1.0, end_scale: S | float = 7.5) -> S:
    r"""$(1 - f)\, w_0 + f\, w_1$ with $f = \mathrm{step} / (\mathrm{total} - 1)$: both ends are reached.

    Args:
        step: in [0, total_steps - 1], a number or an array, traced or not.
        total_steps: at least 1; a single step has the scale at the start.
        start_scale: $w_0$, at step 0.
        end_scale: $w_1$, at step ``total_steps - 1``.

    Raises:
        ValueError: if ``total_steps`` is less than 1, a concrete step lies outside of its range, or a scale is a number
            that is not finite.
    """
    _check_ends(start_scale, end_scale)
    progress = _progress(step, total_steps)
    return (1 - progress) * start_scale + progress * end_scale


def cosine_guidance_schedule(step: S, total_steps: int, start_scale: S | float = 1.0, end_scale: S | float = 7.5) -> S:
    r"""$(1 - g)\, w_0 + g\, w_1$ with $g = (1 - \cos \pi f) / 2$: like the linear one, flat at both ends.

    Args:
        step: in [0, total_steps - 1], a number or an array, traced or not.
        total_steps: at least 1; a single step has the scale at the start.
        start_scale: $w_0$, at step 0.
        end_scale: $w_1$, at step ``total_steps - 1``.

    Raises:
        ValueError: if ``total_steps`` is less than 1, a concrete step lies outside of its range, or a scale is a number
            that is not finite.
    """
    _check_ends(start_scale, end_scale)
    ease = (1 - cast("S", _cos(math.pi * _progress(step, total_steps)))) / 2
    return (1 - ease) * start_scale + ease * end_scale


def _check_ends(*scales: float | Array) -> None:
    for scale in scales:
        if not isinstance(scale, jax.Array):
            check_number("start_scale and end_scale", scale)


def _progress(step: S, total_steps: int) -> S:
    """The fraction $f$ of the run at ``step``, in [0, 1]."""
    check_whole("total_steps", total_steps, 1)
    if not isinstance(step, jax.core.Tracer):
        values = np.asarray(step)
        if values.size and not (values.min() >= 0 and values.max() < total_steps):
            raise ValueError(
                f"step must be in [0, {total_steps - 1}], got values from {values.min()} to {values.max()}"
            )
    return step / max(total_steps - 1, 1)


def _cos(x: float | Array | HostArray) -> float | Array | HostArray:
    if isinstance(x, jax.Array):
        return jnp.cos(x)
    return np.cos(x) if isinstance(x, np.ndarray) else math.cos(x)


@record
class ByStep:
    """A scale by the index of the step, for ``bind``.

    Attributes:
        schedule: ``linear_guidance_schedule``, ``cosine_guidance_schedule``, or another function of
            ``(step, total_steps, start, end)``.
        start: the scale at the first step, finite.
        end: the scale at the last step, finite.

    Raises:
        ValueError: if one of them is not finite.
    """

    schedule: Ease
    start: float | Array = 1.0
    end: float | Array = 7.5

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)

    def bind(self, tableau: TableauLike) -> ValueByTime:
        """The scale of each row of the table."""
        rows = tableau.level.t.shape[0]
        return ValueByTime(tableau.level.t, self.schedule(jnp.arange(rows), rows, self.start, self.end))


@record
class FirstSteps:
    """A scale of 1 in the first steps and 0 in all others, for ``bind``.

    Attributes:
        count: the number of first steps, at least 0.

    Raises:
        ValueError: if it is negative.
    """

    count: int = static(default=1)

    def __post_init__(self) -> None:
        check_whole("count", self.count, 0)

    def bind(self, tableau: TableauLike) -> ValueByTime:
        """The scale of each row of the table."""
        return ValueByTime(tableau.level.t, np.where(np.arange(tableau.level.t.shape[0]) < self.count, 1.0, 0.0))
