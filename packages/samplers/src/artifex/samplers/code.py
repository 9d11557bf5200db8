r"""Traced functions as values: two traces of the same computation are equal, whatever objects they come from.

``jax.jit`` looks up compiled programs by the equality of static arguments. A jaxpr equals only itself; a ``Code``
compares equations, with variables numbered in order of appearance.
"""

from collections.abc import Hashable, Mapping
from itertools import count
from typing import Any, Final

import numpy as np
from jax.extend import core
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

# Since JAX 0.12 both are the same class, and this name of it is untyped.
ClosedJaxpr: Any = vars(core)["ClosedJaxpr"]
GRADIENTS: Final = ("custom_jvp_call", "custom_vjp_call")
"""Primitives whose parameters hold functions that each trace creates again and only gradients use."""


class Code:
    """A jaxpr that equals others with the same equations.

    Args:
        jaxpr: with its constants as arguments.
        gradients: whether it may be differentiated. Functions with custom gradients (``jax.custom_jvp``,
            ``jax.custom_vjp``) then equal only themselves.
    """

    def __init__(self, jaxpr: Jaxpr, *, gradients: bool = True) -> None:
        self.jaxpr = jaxpr
        self._key = _jaxpr(jaxpr, gradients)
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and self._hash == other._hash and self._key == other._key

    def __hash__(self) -> int:
        return self._hash


class Same:
    """Identity as equality; holds a reference, so that no later object can reuse the id."""

    def __init__(self, thing: object) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self._thing is other._thing

    def __hash__(self) -> int:
        return id(self._thing)


def _jaxpr(jaxpr: Jaxpr, gradients: bool) -> Hashable:
    numbers: dict[Var, int] = {}
    fresh = count()

    def bound(var: Var) -> Hashable:
        numbers[var] = next(fresh)
        return var.aval

    def used(atom: Var | Literal) -> Hashable:
        if isinstance(atom, Literal):
            return atom.aval, _value(atom.val, gradients)
        return numbers[atom]

    def equation(eqn: JaxprEqn) -> Hashable:
        ins = tuple(map(used, eqn.invars))
        params = tuple(
            (name, _value(param, gradients))
            for name, param in sorted(eqn.params.items())
            if gradients or eqn.primitive.name not in GRADIENTS or isinstance(param, Jaxpr | ClosedJaxpr)
        )
        return eqn.primitive, ins, params, eqn.ctx, tuple(map(bound, eqn.outvars))

    start = tuple(map(bound, (*jaxpr.constvars, *jaxpr.invars)))
    body = tuple(map(equation, jaxpr.eqns))
    return len(jaxpr.constvars), start, body, tuple(map(used, jaxpr.outvars))


def _value(x: Any, gradients: bool) -> Hashable:  # noqa: ANN401 -- a parameter of any primitive
    """A hashable that is equal for equal meanings of ``x``."""
    if isinstance(x, Jaxpr | ClosedJaxpr):
        return _jaxpr(getattr(x, "jaxpr", x), gradients), tuple(map(Same, getattr(x, "consts", ())))
    if isinstance(x, np.ndarray | np.generic):
        return x.shape, x.dtype, x.tobytes()
    if isinstance(x, float):
        return float, x.hex()  # 0.0 == -0.0, but they are different numbers
    if isinstance(x, tuple | list):
        return type(x), tuple(_value(part, gradients) for part in x)
    if isinstance(x, Mapping):
        return type(x), tuple((name, _value(part, gradients)) for name, part in x.items())
    try:
        hash(x)
    except TypeError:
        return Same(x)
    return type(x), x
