"""What guidance is: a condition and a conditional denoiser go in, a denoiser comes out."""

from typing import Generic, Protocol, TypeVar, runtime_checkable

import jax

from artifex.schedules import ConditionalDenoiser, Denoiser, NoiseLevel
from artifex.schedules.arrays import record
from artifex.schedules.shapes import Estimate, X

C = TypeVar("C")


@runtime_checkable
class Guidance(Protocol[C]):
    """A way to steer a conditional denoiser towards its condition."""

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser.

        Args:
            denoiser: what is guided.
            cond: where to, arrays with the batch in front; None is nowhere, for a guidance that needs no condition.

        Raises:
            ValueError: without a condition, if this guidance needs one.
        """
        ...


def require_condition(cond: C | None) -> C:
    """``cond``, or a ValueError if there is none."""
    if cond is None:
        raise ValueError("guidance needs a condition to steer to: conditioning must be given, got None")
    return cond


@record
class Conditional(Generic[C]):
    """No guidance: the denoiser under its condition as it is."""

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The denoiser with ``cond`` bound."""
        return Bound(denoiser, cond)


@record
class Unconditional(Generic[C]):
    """The denoiser without a condition, for a guidance around it that alone knows where to."""

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The denoiser with None bound."""
        return Bound(denoiser, None)


@record
class Bound(Generic[C]):
    """A conditional denoiser under one condition; None is none."""

    denoiser: ConditionalDenoiser[C]
    cond: C | None

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The denoiser's $x_0$."""
        return self.denoiser(x_t, level, self.cond)
