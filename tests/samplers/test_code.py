"""Traces of one computation are equal, those of others are not."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array

from artifex.samplers.code import Code

pytestmark = pytest.mark.slow

X = jnp.ones((2, 3))
Function = Callable[[Array], Array]


def trace(function: Function, x: Array = X, *, gradients: bool = False) -> Code:
    return Code(jax.make_jaxpr(function)(x).jaxpr, gradients=gradients)


def scaled(by: float, axis: int = 0) -> Function:
    """Something of everything: calls, loops, branches, rules for gradients, random numbers."""

    def function(x: Array) -> Array:
        x = jax.jit(lambda x: by * x)(x)
        x = jax.lax.scan(lambda c, y: (by * c + y, None), x, jnp.ones((2, *x.shape), x.dtype))[0]
        x = jax.lax.cond(x.sum() > 0, lambda x: by * x, lambda x: x, x)
        x = jax.checkpoint(lambda x: jnp.sin(by * x))(x)
        x = jax.nn.relu(x) + jax.random.normal(jax.random.key(0), x.shape)
        return jnp.flip(jax.vmap(jnp.cumsum)(x), axis)

    return function


def test_made_anew_it_is_equal() -> None:
    one, two = trace(scaled(2.0)), trace(scaled(2.0))
    assert one.jaxpr is not two.jaxpr
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize(
    "other",
    [lambda: trace(scaled(3.0)), lambda: trace(scaled(2.0, 1)), lambda: trace(scaled(2.0), jnp.ones((3, 3)))],
    ids=["number", "axis", "shape"],
)
def test_another_computation_is_not(other: Callable[[], Code]) -> None:
    assert trace(scaled(2.0)) != other()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (lambda x: x * 0.0, lambda x: x * -0.0),
        (lambda x: x - 1.0 * x.sum(), lambda x: x.sum() * 1.0 - x),
        (lambda x: x + 1.0, lambda x: x + 1),
        (lambda x: x, lambda x: x + 0),
        (lambda x: jnp.dot(x, x.T, precision="highest"), lambda x: jnp.dot(x, x.T)),
        (lambda x: x.sum(axis=0, keepdims=True), lambda x: x.max(axis=0, keepdims=True)),
        (lambda x: jax.jit(lambda x: x * 2.0)(x), lambda x: jax.jit(lambda x: x * 3.0)(x)),
    ],
)
def test_small_differences_count(one: Function, two: Function) -> None:
    same = one(X).shape == two(X).shape and str(jax.make_jaxpr(one)(X)) == str(jax.make_jaxpr(two)(X))
    assert (trace(one) == trace(two)) is same


def test_gradients_of_its_own_are_equal_to_themselves_where_they_count() -> None:
    def made(gradients: bool) -> Code:
        return trace(lambda x: jax.nn.relu(x), gradients=gradients)

    assert made(False) == made(False)
    assert made(True) != made(True)
    code = made(True)
    assert code == code
