from collections.abc import Callable
from dataclasses import FrozenInstanceError

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules.arrays import record, static, traceable


@record
class Line:
    """A value for the tests."""

    slope: jax.Array | float
    name: str = static(default="line")

    def __post_init__(self) -> None:
        if isinstance(self.slope, float) and self.slope < 0:
            raise ValueError(f"slope must be at least 0, got {self.slope}")

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.slope * x


@record
class Applied:
    """A value that holds a function."""

    function: Callable[[jax.Array], jax.Array]
    scale: float = 1.0


def same_structure(a: object, b: object) -> bool:
    one: object = jax.tree.structure(a)
    return one == jax.tree.structure(b)


def double(x: jax.Array) -> jax.Array:
    return 2 * x


def test_fields_are_children_and_static_ones_structure() -> None:
    leaves, structure = jax.tree.flatten(Line(jnp.asarray(2.0), "a"))
    assert len(leaves) == 1
    assert not same_structure(Line(jnp.asarray(2.0), "a"), Line(jnp.asarray(2.0), "b"))
    assert same_structure(Line(jnp.asarray(2.0), "a"), Line(jnp.asarray(3.0), "a"))
    again = jax.tree.unflatten(structure, leaves)
    assert again == Line(leaves[0], "a")


def test_paths_name_the_fields() -> None:
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(Line(1.0))]
    assert paths == [".slope"]


def test_unflatten_takes_placeholders() -> None:
    """JAX fills in anything: None, objects, structures. None of it is what __post_init__ checks."""
    structure = jax.tree.structure(Line(1.0))
    for placeholder in (object(), None, -1.0, "anything"):
        assert jax.tree.unflatten(structure, [placeholder]).slope is placeholder
    with pytest.raises(ValueError, match=r"slope must be at least 0, got -1\.0"):
        Line(-1.0)


def test_records_pass_through_transformations() -> None:
    line = Line(jnp.asarray(2.0))
    assert jax.jit(lambda f, x: f(x))(line, jnp.asarray(3.0)) == 6
    assert jax.grad(lambda f: f(jnp.asarray(3.0)))(line).slope == 3
    many = jax.vmap(lambda s: Line(s))(jnp.arange(3.0))
    np.testing.assert_array_equal(many.slope, [0, 1, 2])


def test_a_plain_function_is_structure() -> None:
    leaves, structure = jax.tree.flatten(Applied(double, 3.0))
    assert leaves == [3.0]
    assert same_structure(Applied(double, 3.0), Applied(double, 4.0))
    assert not same_structure(Applied(double, 3.0), Applied(jnp.tanh, 3.0))
    again = jax.tree.unflatten(structure, leaves)
    assert again.function(jnp.asarray(1.0)) == 2


def test_a_record_is_a_child_with_its_arrays() -> None:
    assert len(jax.tree.leaves(Applied(Line(jnp.asarray(2.0)), 3.0))) == 2


def test_the_same_function_traces_once() -> None:
    traces = []

    def run(a: Applied, x: jax.Array) -> jax.Array:
        traces.append(1)
        return a.function(x)

    compiled = jax.jit(run)
    for scale in (1.0, 2.0):
        compiled(Applied(double, scale), jnp.asarray(1.0))
    assert len(traces) == 1


def test_traceable() -> None:
    wrapped = traceable(double)
    assert jax.tree.leaves(wrapped) == []
    assert wrapped(jnp.asarray(1.0)) == 2
    line = Line(1.0)
    assert traceable(line) is line
    assert traceable(3) == 3


def test_frozen() -> None:
    line = Line(1.0)
    with pytest.raises(FrozenInstanceError):
        line.slope = 2.0  # type: ignore[misc]
