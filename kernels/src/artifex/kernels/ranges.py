"""Checks of numbers against ranges; traced numbers pass."""

import math
from typing import Literal

import jax
import numpy as np
from jax.typing import ArrayLike

Ends = Literal["[]", "()", "[)", "(]"]
"""The brackets of an interval."""


def check_number(name: str, x: ArrayLike, low: float = -math.inf, high: float = math.inf, ends: Ends = "[]") -> None:
    """Raise a ValueError unless ``x`` is finite and between ``low`` and ``high``.

    Args:
        name: of the number, for the message.
        x: a number or an array of numbers.
        low: the lower end.
        high: the upper end.
        ends: whether each end is included, as brackets.
    """
    if isinstance(x, jax.core.Tracer) or not getattr(x, "is_fully_addressable", True):
        return
    array = np.asarray(x, np.float64)
    above = array >= low if ends[0] == "[" else array > low
    below = array <= high if ends[1] == "]" else array < high
    inside = above & below & np.isfinite(array)
    if not np.all(inside):
        got = x if array.ndim == 0 else array[~inside][0]
        raise ValueError(f"{name} must be {_range(low, high, ends)}, got {got}")


def check_positive(name: str, x: ArrayLike) -> None:
    """Raise a ValueError unless ``x`` is positive and finite."""
    check_number(name, x, 0, ends="()")


def check_whole(name: str, n: int, low: int, high: int | None = None) -> None:
    """Raise a ValueError unless ``n`` is a whole number of at least ``low`` and, where given, at most ``high``.

    A bool is not a whole number.
    """
    allowed = f"at least {low}" if high is None else f"in [{low}, {high}]"
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise ValueError(f"{name} must be a whole number {allowed}, got {n!r}")
    if n < low or (high is not None and n > high):
        raise ValueError(f"{name} must be {allowed}, got {n}")


def _range(low: float, high: float, ends: Ends) -> str:
    if math.isfinite(low) and math.isfinite(high):
        return f"in {ends[0]}{low:g}, {high:g}{ends[1]}"
    if math.isfinite(high):
        return f"finite and {'at most' if ends[1] == ']' else 'below'} {high:g}"
    if not math.isfinite(low):
        return "finite"
    if ends[0] == "[":
        return f"finite and at least {low:g}"
    return "positive and finite" if low == 0 else f"finite and above {low:g}"
