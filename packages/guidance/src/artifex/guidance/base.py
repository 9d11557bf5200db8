"""The interface of guidance: from a conditional denoiser and a condition to a denoiser."""

from typing import Generic, Protocol, TypeVar, runtime_checkable

import jax

from artifex.schedules import ConditionalDenoiser, Denoiser, NoiseLevel
from artifex.schedules.arrays import record
from artifex.schedules.shapes import Estimate, X

C = TypeVar("C")


@runtime_checkable
class Guidance(Protocol[C]):
    """A function that steers a conditional denoiser towards its condition."""

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """Return the guided denoiser.

        Args:
            denoiser: the denoiser to guide.
            cond: the condition, arrays with the batch in front; None for a guidance that needs no condition.

        Raises:
            ValueError: if this guidance needs a condition and ``cond`` is None.
        """
        ...


def require_condition(cond: C | None) -> C:
    """Return ``cond``, or raise a ValueError if it is None."""
    if cond is None:
        raise ValueError("guidance needs a condition to steer to: conditioning must be given, got None")
    return cond


@record
class Conditional(Generic[C]):
    """No guidance: the denoiser under its condition."""

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The denoiser with ``cond`` bound."""
        return Bound(denoiser, cond)


@record
class Unconditional(Generic[C]):
    """The denoiser without a condition, for a guidance around it that uses the condition itself."""

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The denoiser with None bound."""
        return Bound(denoiser, None)


@record
class Bound(Generic[C]):
    """A conditional denoiser with its condition bound; None is no condition."""

    denoiser: ConditionalDenoiser[C]
    cond: C | None

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The denoiser's $x_0$."""
        return self.denoiser(x_t, level, self.cond)
