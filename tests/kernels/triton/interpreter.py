"""Triton kernels on the CPU, by Triton's own interpreter, on NumPy arrays and inside ``jax.jit``.

The interpreter computes with NumPy and calls only a few of torch's methods on its arguments. ``HostTensor`` has those,
so torch is not needed. Products in bfloat16 (``tl.dot``) come out as garbage there: tests use float32 and float16.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any, Final

import jax
import numpy as np
import numpy.typing as npt
from jaxtyping import Array
from triton.runtime import interpreter
from triton.runtime.jit import JITFunction

from artifex.kernels.platform import Constants, TritonKernel, pvary, varying

ONE_AT_A_TIME: Final = Lock()
"""XLA calls back from several threads, and the interpreter patches the language for all of them."""


class HostStorage:
    """The memory of a ``HostTensor``."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.array = array

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def cpu(self) -> "HostStorage":
        return self

    def copy_(self, other: "HostStorage") -> None:
        """Nothing: ``cpu`` made no copy, so what the kernel wrote is here already."""


class HostTensor:
    """The tensor interface that the interpreter needs, over a NumPy array."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.array = array
        self.dtype = str(array.dtype)

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def untyped_storage(self) -> HostStorage:
        return HostStorage(self.array)

    def new_empty(self, size: int, device: str) -> "HostTensor":
        return HostTensor(self.array)

    def set_(self, *view: object) -> None:
        """Nothing: ``new_empty`` shares the memory."""

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.array.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(step // self.array.itemsize for step in self.array.strides)


def interpret(
    kernel: TritonKernel,
    grid: tuple[int, ...],
    args: Sequence[npt.NDArray[Any]],
    out: Sequence[npt.NDArray[Any]],
    constants: Constants,
) -> None:
    """Runs a kernel, which writes into ``out``."""
    assert isinstance(kernel, JITFunction)
    tensors = [HostTensor(x) for x in (*args, *out)]
    with ONE_AT_A_TIME, _nested_kernels_interpreted():
        _interpreted(kernel.fn)[grid](*tensors, **constants)


def launch(
    kernel: TritonKernel,
    grid: tuple[int, ...],
    args: Sequence[Array],
    out: Sequence[jax.ShapeDtypeStruct],
    constants: Constants,
    *,
    warps: int,
    stages: int,
) -> tuple[Array, ...]:
    """Stands where ``artifex.kernels.platform.launch`` does. Outputs start as NaN, so what is not written shows."""

    def host(*arrays: Array) -> tuple[npt.NDArray[Any], ...]:
        filled = tuple(np.full(x.shape, np.nan if x.dtype.kind == "f" else -1).astype(x.dtype) for x in out)
        interpret(kernel, grid, [np.ascontiguousarray(x) for x in arrays], filled, constants)
        return filled

    return tuple(pvary(x, varying(*args)) for x in jax.pure_callback(host, tuple(out), *args))


@cache
def _interpreted(function: Callable[..., object]) -> interpreter.InterpretedFunction:
    return interpreter.InterpretedFunction(function)


@contextmanager
def _nested_kernels_interpreted() -> Iterator[None]:
    """Lets kernels call others; the interpreter patches the language for those too and does not undo it by itself."""
    original = JITFunction.__call__

    def call(self: JITFunction, *args: object, **kwargs: object) -> object:
        scope = interpreter._patch_lang(self.fn)
        try:
            return _interpreted(self.fn).rewrite()(*args, **kwargs)
        finally:
            scope.restore()

    JITFunction.__call__ = call
    try:
        yield
    finally:
        JITFunction.__call__ = original
