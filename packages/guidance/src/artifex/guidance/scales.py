"""How strong guidance is: a number, one a sample, a function of the noise level, or of the step of a walk."""

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
    """What guidance reads of a sampler's table; an ``artifex.samplers.Tableau`` is one."""

    @property
    def level(self) -> NoiseLevel[HostArray]:
        """Where the network is called, arrays of shape ``(rows,)``."""
        ...

    @property
    def end(self) -> NoiseLevel[HostArray]:
        """Where the walk ends, arrays of shape ``()``."""
        ...

    @property
    def evaluate(self) -> HostArray:
        """Weights of the next state, ``(rows, 3 + history)``, over the state, a base state, $x_0$ and older ones."""
        ...


@runtime_checkable
class StepScale(Protocol):
    """A scale that is known only once there is a walk."""

    def bind(self, walk: TableauLike) -> LevelScale:
        """The scale as a function of the noise level, along ``walk``."""
        ...


Scale = float | Array | HostArray | LevelScale | StepScale
"""A guidance scale: one number, one a sample, a function of the noise level, or one of the steps of a walk."""


def bind(guidance: G, walk: TableauLike) -> G:
    """``guidance`` for this walk: every scale in it that follows the steps becomes a function of the noise level.

    Args:
        guidance: any guidance, rule or scale of this package.
        walk: a sampler's table.
    """
    bound: G = jax.tree.map(lambda part: part.bind(walk) if _is_by_step(part) else part, guidance, is_leaf=_is_by_step)
    return bound


def _is_by_step(part: object) -> TypeGuard[StepScale]:
    # a second network may be within: asking a protocol would take milliseconds for its hundreds of arrays
    return hasattr(type(part), "bind")


def concrete(value: float | Array | HostArray) -> HostArray | None:
    """``value`` on the host; None where it stands for one that is not known yet."""
    return None if isinstance(value, jax.core.Tracer) else np.asarray(value, np.float64)


def check_scale(scale: Scale) -> None:
    """Raises a ValueError for a scale that is known to be no finite number, or more than one a sample."""
    if callable(scale) or isinstance(scale, StepScale) or (value := concrete(scale)) is None:
        return
    if value.ndim > 1 or not np.all(np.isfinite(value)):
        got = scale if value.ndim == 0 else f"{value[~np.isfinite(value)]} in shape {value.shape}"
        raise ValueError(f"scale must be one finite number, or one a sample, got {got}")


def scale_at(scale: Scale, level: NoiseLevel[jax.Array], like: X) -> Float[Array, "*b"]:
    """The scale at ``level``: one number, or one for each sample of ``like``.

    Raises:
        ValueError: if it is neither, or follows the steps of a walk that it was not bound to.
    """
    if isinstance(scale, StepScale):
        raise ValueError("a scale by the step needs the walk: artifex.guidance.bind(guidance, tableau) first")
    value = jnp.asarray(scale(level) if callable(scale) else scale, accumulation_dtype(like.dtype))
    if value.shape not in ((), like.shape[:1]):
        raise ValueError(f"scale must be one number or one a sample, of shape {like.shape[:1]}, got {value.shape}")
    return value


def factor_at(scale: Scale, level: NoiseLevel[jax.Array], like: X) -> Array:
    """``scale_at``, shaped to multiply ``like``."""
    return expand(scale_at(scale, level, like), like)
