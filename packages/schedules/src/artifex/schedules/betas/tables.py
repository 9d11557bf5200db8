"""Beta tables by the names that configurations use."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from artifex.schedules.arrays import HostArray
from artifex.schedules.betas import alpha_bar, explicit

ExplicitName = Literal["linear", "scaled_linear", "sigmoid", "geometric"]
BetaSchedule = Literal[ExplicitName, "cosine", "exponential", "sigmoid_alpha_bar", "laplace"]
"""The name of a beta table."""

EXPLICIT: Final[Mapping[BetaSchedule, Callable[..., HostArray]]] = {
    "linear": explicit.linear,
    "scaled_linear": explicit.scaled_linear,
    "sigmoid": explicit.sigmoid,
    "geometric": explicit.geometric,
}
"""The tables between two betas, called as ``(n)`` or ``(n, start, end)``."""

TABLES: Final[Mapping[BetaSchedule, Callable[..., HostArray]]] = {
    **EXPLICIT,
    "cosine": alpha_bar.cosine,
    "exponential": explicit.exponential,
    "sigmoid_alpha_bar": alpha_bar.sigmoid_alpha_bar,
    "laplace": alpha_bar.laplace,
}
"""All tables, called as ``(n)``; those of ``EXPLICIT`` also as ``(n, start, end)``."""
