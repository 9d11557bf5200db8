"""Guidance scales: one number, one per sample, a function of the noise level, or a function of the step."""

from collections.abc import Callable
from typing import Protocol, TypeGuard, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.kernels.dtypes import accumulation_dtype
from artifex.schedules import NoiseLevel, expand
from artifex.schedules.arrays import HostArray
from artifex.schedules.shapes import X

G = TypeVar("G")
LevelScale = Callable[[NoiseLevel[jax.Array]], Array]


@runtime_checkable
class TableauLike(Protocol):
    """The part of a sampler's table that guidance reads; ``artifex.samplers.Tableau`` is one."""

    @property
    def level(self) -> NoiseLevel[HostArray]:
        """The levels at which the network is called, arrays of shape ``(rows,)``."""
        ...

    @property
    def end(self) -> NoiseLevel[HostArray]:
        """The level of the result, arrays of shape ``()``."""
        ...

    @property
    def evaluate(self) -> HostArray:
        """Weights of the next state, ``(rows, 3 + history)``, over the state, a base state, $x_0$ and older ones."""
        ...


@runtime_checkable
class StepScale(Protocol):
    """A scale that depends on the sampler's table."""

    def bind(self, tableau: TableauLike) -> LevelScale:
        """The scale as a function of the noise level, along ``tableau``."""
        ...


Scale = float | Array | HostArray | LevelScale | StepScale
"""A guidance scale: one number, one per sample, a function of the noise level, or a function of the step."""


def bind(guidance: G, tableau: TableauLike) -> G:
    """Bind the scales of ``guidance`` that depend on the step to a table: they become functions of the noise level.

    Args:
        guidance: any guidance, rule or scale of this package.
        tableau: a sampler's table.
    """
    bound: G = jax.tree.map(
        lambda part: part.bind(tableau) if _is_by_step(part) else part, guidance, is_leaf=_is_by_step
    )
    return bound


def _is_by_step(part: object) -> TypeGuard[StepScale]:
    # isinstance of a protocol is slow, and guidance may hold a network of hundreds of arrays
    return hasattr(type(part), "bind")


def concrete(value: float | Array | HostArray) -> HostArray | None:
    """``value`` on the host, or None if it is traced."""
    return None if isinstance(value, jax.core.Tracer) else np.asarray(value, np.float64)


def check_scale(scale: Scale) -> None:
    """Raise a ValueError for a concrete scale that is not finite or not one number or one per sample."""
    if callable(scale) or isinstance(scale, StepScale) or (value := concrete(scale)) is None:
        return
    if value.ndim > 1 or not np.all(np.isfinite(value)):
        got = scale if value.ndim == 0 else f"{value[~np.isfinite(value)]} in shape {value.shape}"
        raise ValueError(f"scale must be one finite number, or one per sample, got {got}")


def scale_at(scale: Scale, level: NoiseLevel[jax.Array], like: X) -> Float[Array, "*b"]:
    """The scale at ``level``: one number, or one for each sample of ``like``.

    Raises:
        ValueError: if it is neither, or depends on the step and is not bound to a table.
    """
    if isinstance(scale, StepScale):
        raise ValueError(
            "a scale by the step must be bound to a table: call artifex.guidance.bind(guidance, tableau) first"
        )
    value = jnp.asarray(scale(level) if callable(scale) else scale, accumulation_dtype(like.dtype))
    if value.shape not in ((), like.shape[:1]):
        raise ValueError(f"scale must be one number or one per sample, of shape {like.shape[:1]}, got {value.shape}")
    return value


def factor_at(scale: Scale, level: NoiseLevel[jax.Array], like: X) -> Array:
    """``scale_at``, shaped to multiply ``like``."""
    return expand(scale_at(scale, level, like), like)
