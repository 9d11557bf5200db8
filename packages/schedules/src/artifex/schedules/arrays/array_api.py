# ruff: noqa: D102 -- the array API documents its functions
"""One formula, two precisions: NumPy float64 builds tables, JAX trains, from the same line."""

from types import ModuleType
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from artifex.kernels.dtypes import accumulation_dtype

HostArray = npt.NDArray[np.float64]
"""An array on the host, in float64."""

Ints = npt.NDArray[np.int32]
"""Whole numbers on the host, such as the timesteps of a chain."""

T = TypeVar("T", HostArray, jax.Array)
"""Either world; a formula written over it is checked for both."""


@runtime_checkable
class Namespace(Protocol[T]):
    """The part of the array API that schedules use, over one kind of array."""

    inf: float
    pi: float

    def exp(self, x: T, /) -> T: ...
    def expm1(self, x: T, /) -> T: ...
    def log(self, x: T, /) -> T: ...
    def log1p(self, x: T, /) -> T: ...
    def sqrt(self, x: T, /) -> T: ...
    def sin(self, x: T, /) -> T: ...
    def cos(self, x: T, /) -> T: ...
    def tan(self, x: T, /) -> T: ...
    def arctan(self, x: T, /) -> T: ...
    def arcsinh(self, x: T, /) -> T: ...
    def tanh(self, x: T, /) -> T: ...
    def abs(self, x: T, /) -> T: ...
    def floor(self, x: T, /) -> T: ...
    def asarray(self, x: object, /) -> T: ...
    def ones_like(self, x: T, /) -> T: ...
    def zeros_like(self, x: T, /) -> T: ...
    def maximum(self, x: T, y: T | float, /) -> T: ...
    def minimum(self, x: T, y: T | float, /) -> T: ...
    def clip(self, x: T, low: float, high: float, /) -> T: ...
    def where(self, condition: object, x: T | float, y: T | float, /) -> T: ...
    def logaddexp(self, x: T | float, y: T | float, /) -> T: ...
    def interp(self, x: T, xp: T, fp: T, /) -> T: ...
    def hypot(self, x: T, y: T, /) -> T: ...


def array_namespace(x: T) -> Namespace[T]:
    """``jax.numpy`` for arrays of JAX, traced ones too, and ``numpy`` for everything else."""
    thing: object = x
    module: ModuleType = jnp if isinstance(thing, jax.Array) else np
    return cast("Namespace[T]", module)


def real(x: T) -> T:
    """``x`` in float64 on the host; in JAX in its own floating dtype, float32 at least."""
    thing: object = x
    wide: object = thing
    if isinstance(thing, jax.Array):
        wide = thing.astype(accumulation_dtype(thing.dtype))
    else:
        wide = np.asarray(thing, np.float64)
    return cast("T", wide)


def whole(t: T) -> T | Ints:
    """``t`` as int32 where it is whole, else as ``real`` has it.

    On the host the values decide, as a grid is an array of floats; in JAX, where they may be unknown, the dtype.
    """
    thing: object = t
    out: Any = real(t)
    is_whole = (
        jnp.issubdtype(thing.dtype, jnp.integer) if isinstance(thing, jax.Array) else np.array_equal(out, np.floor(out))
    )
    steps: T | Ints = out.astype(np.int32) if is_whole else out
    return steps


def check_times(t: HostArray | jax.Array, low: float, high: float) -> None:
    """Raises a ValueError if a time that is is_whole outside of a trace lies outside of ``[low, high]``."""
    if isinstance(t, jax.core.Tracer):
        return
    known = np.asarray(t)
    if known.size and not (known.min() >= low and known.max() <= high):
        raise ValueError(f"t must be in [{low:g}, {high:g}], got values from {known.min()} to {known.max()}")
