r"""Denoisers: $(x_t, \mathrm{level}) \mapsto \mathbb E[x_0 \mid x_t]$, the one thing that samplers and guidance know.

A denoiser is a callable. Those of this project are records, so their arrays (parameters, conditions, scales) are data
of a compiled walk and not part of its code.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.schedules.level import NoiseLevel
from artifex.schedules.prediction import Prediction
from artifex.schedules.record import record, static

X = Float[Array, "b *d"]
Time = Float[Array, " b"]
C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)
P = TypeVar("P")


@runtime_checkable
class Denoiser(Protocol):
    r"""$\mathbb E[x_0 \mid x_t]$."""

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The clean data expected behind ``x_t``; the arrays of ``level`` are of shape ``(batch,)``."""
        ...


@runtime_checkable
class ConditionalDenoiser(Protocol[C_contra]):
    r"""$\mathbb E[x_0 \mid x_t, c]$; None stands for no condition."""

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array], cond: C_contra | None) -> X:
        """The clean data expected behind ``x_t`` under ``cond``."""
        ...


@record
class NetworkDenoiser(Generic[P, C]):
    """A network with its parameters, seen as a denoiser.

    Attributes:
        apply: ``(parameters, x_t, t, cond) -> output``, pure; part of the structure, so keep one object of it.
        prediction: what the output means.
        parameters: any pytree.
    """

    apply: Callable[[P, X, Time, C | None], X] = static()
    prediction: Prediction = static()
    parameters: P

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array], cond: C | None = None) -> X:
        """$x_0$ from one call of the network."""
        out = self.apply(self.parameters, x_t, jnp.broadcast_to(level.t, x_t.shape[:1]), cond)
        if out.shape != x_t.shape:
            raise ValueError(f"the network must give an output of its input's shape {x_t.shape}, got {out.shape}")
        return self.prediction.clean(out, x_t, level)


@record
class Clipped:
    r"""Another denoiser held to $[-\mathrm{limit}, \mathrm{limit}]$, the range of the data.

    Attributes:
        denoiser: the one inside.
        limit: a positive number.

    Raises:
        ValueError: if ``limit`` is not positive.
    """

    denoiser: Denoiser
    limit: float = static(default=1.0)

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"limit must be positive, got {self.limit}")

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The clipped $x_0$."""
        return jnp.clip(self.denoiser(x_t, level), -self.limit, self.limit)
