"""Frozen dataclasses that are pytrees: arrays are leaves, settings are structure."""

import dataclasses
from collections.abc import Iterable
from functools import partial
from types import MethodType
from typing import Any, Final, TypeVar, dataclass_transform

import jax

C = TypeVar("C")
_RECORDS: Final[set[type]] = set()


def static(**kwargs: Any) -> Any:  # noqa: ANN401 -- as dataclasses.field itself
    """A field in a record's structure: hashable, and another value of it is traced and compiled again."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


def is_record(x: object) -> bool:
    """Return whether the class of ``x`` was made by ``record``."""
    return type(x) in _RECORDS


def traceable(x: C) -> C:
    """``x`` as a pytree: a function is wrapped in ``jax.tree_util.Partial``, all else is returned as it is.

    A plain function has no leaves and is structure; a method keeps the leaves of its object, a ``functools.partial``
    those of its arguments. ``jax.jit`` around a function is removed: the caller compiles the whole, and an inner
    ``jax.jit`` would reuse the arrays that the function closed over when it was first traced.
    """
    if not (callable(x) and jax.tree_util.all_leaves([x])):
        return x
    function: Any = _bare(x)
    bound: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    if isinstance(function, partial):
        function, bound, named = function.func, function.args, function.keywords
    elif isinstance(function, MethodType) and not jax.tree_util.all_leaves([function.__self__]):
        function, bound = function.__func__, (function.__self__,)
    wrapped: Any = jax.tree_util.Partial(function, *bound, **named)  # type: ignore[no-untyped-call]
    out: C = wrapped
    return out


def _bare(function: Any) -> Any:  # noqa: ANN401 -- any callable
    """``function`` without ``jax.jit``."""
    if isinstance(function, MethodType):
        return MethodType(_bare(function.__func__), function.__self__)
    while isinstance(function, jax.stages.Wrapped) and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static))
def record(cls: type[C]) -> type[C]:
    """A frozen dataclass that is a pytree: ``static()`` fields are structure, all others are children.

    Unlike JAX's own registration, unflattening does not run ``__init__``, so ``__post_init__`` checks the values of
    callers and never the tracers and placeholders of JAX. A child may be a plain function: it is structure and equal
    only to itself.
    """
    frozen: Any = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(frozen)
    data = tuple(f.name for f in fields if not f.metadata.get("static"))
    meta = tuple(f.name for f in fields if f.metadata.get("static"))

    def flatten(x: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:  # noqa: ANN401
        return tuple(traceable(getattr(x, n)) for n in data), tuple(getattr(x, n) for n in meta)

    def flatten_with_keys(x: Any) -> tuple[tuple[tuple[Any, Any], ...], tuple[Any, ...]]:  # noqa: ANN401
        children, aux = flatten(x)
        return tuple(zip(map(jax.tree_util.GetAttrKey, data), children, strict=True)), aux

    def unflatten(aux: tuple[Any, ...], children: Iterable[Any]) -> Any:  # noqa: ANN401
        x = object.__new__(frozen)
        for name, value in (*zip(data, children, strict=True), *zip(meta, aux, strict=True)):
            object.__setattr__(x, name, value)
        return x

    jax.tree_util.register_pytree_with_keys(frozen, flatten_with_keys, unflatten, flatten)
    _RECORDS.add(frozen)
    result: type[C] = frozen
    return result
