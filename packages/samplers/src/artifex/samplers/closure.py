r"""Closure conversion: a function as code, and as arguments the arrays that it reads at present.

``jax.jit`` traces a function once and keeps for good what the function closed over then. A walk is compiled for its
denoiser's code alone: a function or a network may change its arrays between two walks, or be made anew, and the walk
that was compiled before runs with the arrays of now.

A record of values has its arrays in its leaves already and stays as it is. All else is traced at each call, which takes
the host as long as tracing the network once.
"""

import dataclasses
from collections.abc import Callable, Sequence
from enum import Enum
from types import MethodType
from typing import Any, Final, TypeVar, cast

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal, Var, jaxpr_as_fun
from jax.tree_util import Partial, PyTreeDef

from artifex.samplers.code import ClosedJaxpr, Code
from artifex.schedules.arrays import record, static, traceable
from artifex.schedules.arrays.records import is_record

F = TypeVar("F", bound=Callable[..., Any])
CONSTANTS: Final = (type, Enum, type(None))


def closure_converted(function: F, *examples: Any, beside: object = None) -> F:  # noqa: ANN401 -- any pytrees
    """``function`` as a pytree that computes the same from its leaves alone; its structure is equal for equal code.

    Args:
        function: pure, from arrays to arrays; what it closes over is read now.
        *examples: arguments of the shapes and dtypes that it will be called with; arrays or ``jax.ShapeDtypeStruct``.
        beside: what else enters the same compiled function. Where anything is being differentiated, a function with a
            gradient of its own (``jax.custom_vjp``) is equal to itself alone.

    Raises:
        ValueError: if the function changes a module's state, as dropout and batch normalisation do in training.
    """
    function = traceable(function)
    if is_value(function):
        return function
    traced = _Traced(function)
    try:
        closed, shape = jax.make_jaxpr(traced, return_shape=True)(traced.data, *examples)
    except Exception as error:
        # Flax's own error, which is no dependency of this package.
        if "trace level" not in str(error):
            raise
        raise ValueError(
            "a function can't close over a Flax module that changes its state or uses nnx.jit, nnx.remat or nnx.scan: "
            f"pass the module itself, in evaluation mode; got {error}"
        ) from error
    if changed := traced.changed(closed.jaxpr):
        raise ValueError(
            "a denoiser must not change its own state, as dropout and batch normalisation do in training: call the "
            f"module's eval() first; got changes of {', '.join(changed)}"
        )
    arrays = (*map(_plain, closed.consts), *traced.data)
    known = not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arrays, examples, beside)))
    # Compiled walks keep the code, which since JAX 0.12 would keep the constants too.
    code = Code(ClosedJaxpr(closed.jaxpr, [None] * len(closed.consts)).jaxpr, gradients=not known)
    return cast("F", _Converted(arrays, code, jax.tree.structure(shape[0])))


@record
class _Converted:
    """Code with the arrays that it reads; called like the function that it came from."""

    arrays: tuple[Any, ...]
    code: Code = static()
    out: PyTreeDef = static()

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401 -- as the function's own
        count = len(self.code.jaxpr.constvars)
        run = jaxpr_as_fun(ClosedJaxpr(self.code.jaxpr, self.arrays[:count]))
        found = run(*self.arrays[count:], *jax.tree.leaves(args))
        return jax.tree.unflatten(self.out, found[: self.out.num_leaves])


class _Traced:
    """A function with its arrays taken out, to be traced once; notes which of them a call replaces."""

    def __init__(self, function: Callable[..., Any]) -> None:
        # Numbers of records are data as under jit; those of other classes may decide what their code does.
        function = jax.tree.map(_as_data, function, is_leaf=_foreign)
        self._leaves, self._tree = jax.tree.flatten(function)
        self._places = [i for i, leaf in enumerate(self._leaves) if isinstance(leaf, jax.Array)]
        self._replaced: list[tuple[str, int]] = []
        self.data = [self._leaves[i] for i in self._places]

    def __call__(self, data: Sequence[jax.Array], *args: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401
        leaves = list(self._leaves)
        for i, array in zip(self._places, data, strict=True):
            leaves[i] = array
        inside = jax.tree.unflatten(self._tree, leaves)
        paths = [path for path, _ in jax.tree.leaves_with_path(inside)]
        out = inside(*args)
        after = dict(jax.tree.leaves_with_path(inside))
        news = [(k, after.get(paths[i], data[k])) for k, i in enumerate(self._places)]
        replaced = [(k, new) for k, new in news if new is not data[k]]
        self._replaced = [(jax.tree_util.keystr(paths[self._places[k]]), k) for k, _ in replaced]
        return out, [new for _, new in replaced]

    def changed(self, jaxpr: Jaxpr) -> list[str]:
        """Names of the arrays that a call really changes: some transformations put back what they took."""
        last = jaxpr.outvars[len(jaxpr.outvars) - len(self._replaced) :]
        return [
            name
            for (name, k), var in zip(self._replaced, last, strict=True)
            if _origin(jaxpr, var) is not jaxpr.invars[k]
        ]


def _origin(jaxpr: Jaxpr, var: Var | Literal) -> Var | Literal:
    """The variable that ``var`` is a copy of, through calls that hand on an argument."""
    makers = {out: (eqn, i) for eqn in jaxpr.eqns for i, out in enumerate(eqn.outvars)}
    while isinstance(var, Var) and var in makers:
        eqn, i = makers[var]
        bodies = [p.jaxpr if isinstance(p, ClosedJaxpr) else p for p in eqn.params.values()]
        bodies = [p for p in bodies if isinstance(p, Jaxpr)]
        if len(bodies) != 1 or len(bodies[0].invars) != len(eqn.invars) or len(bodies[0].outvars) != len(eqn.outvars):
            break
        source = _origin(bodies[0], bodies[0].outvars[i])
        if not isinstance(source, Var) or source not in bodies[0].invars:
            break
        var = eqn.invars[bodies[0].invars.index(source)]
    return var


def _as_data(x: Any) -> Any:  # noqa: ANN401 -- any leaf
    return jnp.asarray(x) if isinstance(x, int | float) else x


def _foreign(x: object) -> bool:
    return callable(x) and not is_record(x) and not isinstance(x, Partial)


def _plain(constant: Any) -> Any:  # noqa: ANN401 -- an array of any kind
    """A constant of a trace as ``jax.jit`` takes it."""
    return constant if isinstance(constant, jax.Array) else jnp.asarray(constant)


def is_value(x: object) -> bool:
    """Whether ``x`` computes from its leaves, and is otherwise known by what it is equal to.

    Records and ``jax.tree_util.Partial`` are, if their parts are; of other callables those that hash and have an
    equality of their own, such as frozen dataclasses. A function, a module or an object with a method ``__call__``
    is not: what is behind it may change.
    """
    if isinstance(x, tuple | list):
        return all(map(is_value, x))
    if isinstance(x, dict):
        return all(map(is_value, x.values()))
    if isinstance(x, Partial):
        return _equates(x.func) and is_value(x.args) and is_value(x.keywords)
    if dataclasses.is_dataclass(x) and is_record(x):
        return all(
            (_equates if field.metadata.get("static") else is_value)(getattr(x, field.name))
            for field in dataclasses.fields(x)
        )
    return not callable(x) or _equates(x)


def _equates(x: object) -> bool:
    """Whether all that ``x`` stands for is known by its equality."""
    if isinstance(x, MethodType):
        return _equates(x.__self__)
    if isinstance(x, CONSTANTS):
        return True
    if type(x).__eq__ is object.__eq__:
        return False
    try:
        hash(x)
    except TypeError:
        return False
    if isinstance(x, tuple):
        return all(map(_equates, x))
    if callable(x) and dataclasses.is_dataclass(x):
        return all(_equates(getattr(x, field.name)) for field in dataclasses.fields(x))
    return True
