"""Scales that follow the steps of a walk: they are bound to its levels before it begins."""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from artifex.guidance.scales import Scale
from artifex.schedules import ByLevel, Host, NoiseLevel, record

G = TypeVar("G")
Ease = Callable[[Array, int, float | Array, float | Array], Array]


@runtime_checkable
class Walk(Protocol):
    """What guidance reads of a sampler's table, as ``artifex.samplers.Tableau`` is one."""

    @property
    def level(self) -> NoiseLevel[Host]:
        """Where the network is called, arrays of shape ``(rows,)``."""
        ...


@runtime_checkable
class Steps(Protocol):
    """A scale that is known only once there is a walk."""

    def bind(self, walk: Walk) -> Scale:
        """The scale as a function of the noise level, along ``walk``."""
        ...


def bind(guidance: G, walk: Walk) -> G:
    """``guidance`` for this walk: every scale in it that follows the steps becomes a function of the noise level.

    Args:
        guidance: any guidance, rule or scale of this package.
        walk: a sampler's table.
    """
    bound: G = jax.tree.map(
        lambda part: part.bind(walk) if isinstance(part, Steps) else part,
        guidance,
        is_leaf=lambda part: isinstance(part, Steps),
    )
    return bound


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

    def __call__(self, level: NoiseLevel[jax.Array]) -> Array:
        """Raises a ValueError: the steps are not known before ``bind``."""
        raise ValueError("a scale by the step needs the walk: artifex.guidance.bind(guidance, tableau) first")
