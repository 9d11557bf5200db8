"""Functions that are compiled once for each shape, also ahead of their first call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

Out = TypeVar("Out")
_ONLY: Final = ContextVar("compiling only", default=False)


class _Compiled(NamedTuple):
    run: Callable[..., Any]
    out: Any


class Program(Generic[Out]):
    """A function of arrays that is compiled once for their shapes, dtypes and structure.

    Args:
        function: pure, of pytrees by position and of hashable values by name.
    """

    def __init__(self, function: Callable[..., Out]) -> None:
        self._function = function
        self._compiled: dict[object, _Compiled] = {}

    @property
    def count(self) -> int:
        """The number of programs so far."""
        return len(self._compiled)

    def __call__(self, *arguments: Any, **static: Any) -> Out:  # noqa: ANN401 -- any pytrees
        """Call the function; inside of ``compiling_only`` compile it, and return zeros."""
        leaves, structure = jax.tree.flatten(arguments)
        key = structure, tuple(map(_shape, leaves)), tuple(sorted(static.items()))
        if key not in self._compiled:

            def flat(leaves: list[Any]) -> Out:
                return self._function(*jax.tree.unflatten(structure, leaves), **static)

            lowered = jax.jit(flat).lower(leaves)
            self._compiled[key] = _Compiled(lowered.compile(), lowered.out_info)
        program = self._compiled[key]
        if _ONLY.get():
            zeros: Out = jax.tree.map(lambda info: jnp.zeros(info.shape, info.dtype), program.out)
            return zeros
        out: Out = program.run(leaves)
        return out


@contextmanager
def compiling_only() -> Iterator[None]:
    """A context in which programs are compiled and not run."""
    token = _ONLY.set(True)
    try:
        yield
    finally:
        _ONLY.reset(token)


def _shape(leaf: Any) -> object:  # noqa: ANN401 -- any leaf
    aval = jax.typeof(leaf)
    return aval.shape, aval.dtype, aval.weak_type, getattr(leaf, "sharding", None)
