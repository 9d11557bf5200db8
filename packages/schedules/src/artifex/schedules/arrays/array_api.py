# ruff: noqa: D102 -- the array API documents its functions
"""The array API shared by NumPy and JAX: one formula gives float64 tables on the host and arrays of JAX in training."""

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
"""Integers on the host, such as the timesteps of a chain."""

T = TypeVar("T", HostArray, jax.Array)
"""An array of NumPy or of JAX; mypy checks a formula for both."""


@runtime_checkable
class Namespace(Protocol[T]):
    """The functions of the array API that schedules use, over one kind of array."""

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
    """``jax.numpy`` for arrays of JAX, traced or not, and ``numpy`` for everything else."""
    thing: object = x
    module: ModuleType = jnp if isinstance(thing, jax.Array) else np
    return cast("Namespace[T]", module)


def real(x: T) -> T:
    """``x`` as floating numbers: float64 on the host, at least float32 in JAX."""
    thing: object = x
    wide: object = thing
    if isinstance(thing, jax.Array):
        wide = thing.astype(accumulation_dtype(thing.dtype))
    else:
        wide = np.asarray(thing, np.float64)
    return cast("T", wide)


def whole(t: T) -> T | Ints:
    """``t`` as int32 if it holds integers, else as ``real`` returns it.

    On the host the values decide, because a grid is an array of floats; in JAX, which may be tracing, the dtype does.
    """
    thing: object = t
    out: Any = real(t)
    is_whole = (
        jnp.issubdtype(thing.dtype, jnp.integer) if isinstance(thing, jax.Array) else np.array_equal(out, np.floor(out))
    )
    steps: T | Ints = out.astype(np.int32) if is_whole else out
    return steps


def check_times(t: HostArray | jax.Array, low: float, high: float) -> None:
    """Raise a ValueError if a concrete time lies outside of ``[low, high]``; traced times pass."""
    if isinstance(t, jax.core.Tracer):
        return
    known = np.asarray(t)
    if known.size and not (known.min() >= low and known.max() <= high):
        raise ValueError(f"t must be in [{low:g}, {high:g}], got values from {known.min()} to {known.max()}")
