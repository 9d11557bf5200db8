r"""Closure conversion: a function as code that takes the arrays it closes over as arguments.

``jax.jit`` traces a function once and bakes in the arrays that it closed over then. The sampling loop is compiled for
the denoiser's code only: a function or a network may change its arrays between two runs, or be another object with the
same code, and the compiled loop runs with its present arrays.

A record of values holds its arrays in its leaves already and is returned as it is. Anything else is traced at each
call, at the host's cost of tracing the network once.
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
    """Convert ``function`` to a pytree that computes the same from its leaves; equal code has equal structure.

    Args:
        function: pure, from arrays to arrays; the arrays that it closes over are read now.
        *examples: arguments with the shapes and dtypes of later calls; arrays or ``jax.ShapeDtypeStruct``.
        beside: the other arguments of the same compiled function. If any of them is traced, a function with a custom
            gradient (``jax.custom_vjp``) equals only itself.

    Raises:
        ValueError: if the function changes a module's state, as dropout and batch normalization do in training.
    """
    function = traceable(function)
    if is_value(function):
        return function
    traced = _Traced(function)
    try:
        closed, shape = jax.make_jaxpr(traced, return_shape=True)(traced.data, *examples)
    except Exception as error:
        # An error of Flax, which this package does not depend on.
        if "trace level" not in str(error):
            raise
        raise ValueError(
            "a function can't close over a Flax module that changes its state or uses nnx.jit, nnx.remat or nnx.scan: "
            f"pass the module itself, in evaluation mode; got {error}"
        ) from error
    if changed := traced.changed(closed.jaxpr):
        raise ValueError(
            "a denoiser must not change its own state, as dropout and batch normalization do in training: call the "
            f"module's eval() first; got changes of {', '.join(changed)}"
        )
    arrays = (*map(_plain, closed.consts), *traced.data)
    known = not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arrays, examples, beside)))
    # Compiled loops hold on to the code, which since JAX 0.12 would hold the constants too.
    code = Code(ClosedJaxpr(closed.jaxpr, [None] * len(closed.consts)).jaxpr, gradients=not known)
    return cast("F", _Converted(arrays, code, jax.tree.structure(shape[0])))


@record
class _Converted:
    """Code and its arrays, called like the original function."""

    arrays: tuple[Any, ...]
    code: Code = static()
    out: PyTreeDef = static()

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401 -- as the function's own
        count = len(self.code.jaxpr.constvars)
        run = jaxpr_as_fun(ClosedJaxpr(self.code.jaxpr, self.arrays[:count]))
        found = run(*self.arrays[count:], *jax.tree.leaves(args))
        return jax.tree.unflatten(self.out, found[: self.out.num_leaves])


class _Traced:
    """A function with its arrays as an argument, for one trace; records which of them a call replaces."""

    def __init__(self, function: Callable[..., Any]) -> None:
        # Numbers in records are data, as under jit; those of other classes may control their code.
        function = jax.tree.map(_as_data, function, is_leaf=_foreign)
        self._leaves, self._tree = jax.tree.flatten(function)
        self._indices = [i for i, leaf in enumerate(self._leaves) if isinstance(leaf, jax.Array)]
        self._replaced: list[tuple[str, int]] = []
        self.data = [self._leaves[i] for i in self._indices]

    def __call__(self, data: Sequence[jax.Array], *args: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401
        leaves = list(self._leaves)
        for i, array in zip(self._indices, data, strict=True):
            leaves[i] = array
        inside = jax.tree.unflatten(self._tree, leaves)
        paths = [path for path, _ in jax.tree.leaves_with_path(inside)]
        out = inside(*args)
        after = dict(jax.tree.leaves_with_path(inside))
        news = [(k, after.get(paths[i], data[k])) for k, i in enumerate(self._indices)]
        replaced = [(k, new) for k, new in news if new is not data[k]]
        self._replaced = [(jax.tree_util.keystr(paths[self._indices[k]]), k) for k, _ in replaced]
        return out, [new for _, new in replaced]

    def changed(self, jaxpr: Jaxpr) -> list[str]:
        """Names of the arrays that a call changes; some transformations restore what they replace."""
        last = jaxpr.outvars[len(jaxpr.outvars) - len(self._replaced) :]
        return [
            name
            for (name, k), var in zip(self._replaced, last, strict=True)
            if _origin(jaxpr, var) is not jaxpr.invars[k]
        ]


def _origin(jaxpr: Jaxpr, var: Var | Literal) -> Var | Literal:
    """The variable that ``var`` copies, followed through calls that return an argument."""
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
    """Return whether ``x`` is determined by its leaves and, apart from these, by equality.

    Records and ``jax.tree_util.Partial`` are, if their parts are; of other callables those that hash and define
    equality, such as frozen dataclasses. A function, a module or an object with a method ``__call__`` is not: its state
    may change.
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
    """Return whether equality of ``x`` implies equal behavior."""
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
