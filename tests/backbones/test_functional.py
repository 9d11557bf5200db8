"""Modules as pure functions of their state."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import DiT, DiTConfig, functional, perturbed
from artifex.schedules import VP, Epsilon, NetworkDenoiser

pytestmark = pytest.mark.slow

CONFIG = DiTConfig(in_channels=1, hidden=8, depth=2, heads=2, learn_sigma=False, num_classes=2, dropout=0.5)
X, T, LABELS = jnp.linspace(-1, 1, 32).reshape(2, 4, 4, 1), jnp.array([10, 500]), jnp.array([0, 1])


# These tests cost compile time, not run time.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def network() -> DiT:
    """A small network whose output is not zero."""
    dit, rng = DiT(CONFIG, rngs=nnx.Rngs(0)), np.random.default_rng(1)
    fill = lambda leaf: jnp.asarray(rng.normal(0, 0.3, size=leaf.shape), jnp.float32)  # noqa: E731
    nnx.update(dit, jax.tree.map(fill, nnx.state(dit, nnx.Param)))
    return dit


def run(model: Callable[..., jax.Array]) -> jax.Array:
    """The output of a module, by Flax's own functions."""
    graph, state = nnx.split(model)
    out: jax.Array = jit(lambda state: nnx.merge(graph, state)(X, T, LABELS))(state)
    return out


@cache
def model() -> DiT:
    return network()


def test_the_function_computes_what_the_module_computes() -> None:
    apply, parameters = functional(model())
    compiled = jit(apply)
    np.testing.assert_array_equal(compiled(parameters, X, T, LABELS), run(model()))
    other = jax.tree.map(lambda leaf: leaf if leaf.dtype != jnp.float32 else 2 * leaf, parameters)
    np.testing.assert_array_equal(compiled(other, X, T, LABELS), run(apply.module(other)))
    assert float(jnp.abs(compiled(other, X, T, LABELS) - run(model())).max()) > 0.01


def test_equal_modules_are_compiled_once() -> None:
    traces = []

    def run(denoise: NetworkDenoiser[nnx.State, jax.Array], x: jax.Array) -> jax.Array:  # type: ignore[type-arg]
        traces.append(denoise)
        return denoise(x, VP().at(jnp.array([0.1, 0.5])))

    compiled = jit(run)
    for _ in range(2):
        apply, parameters = functional(network())
        compiled(NetworkDenoiser(apply, Epsilon(), parameters), X)
    assert len(traces) == 1
    other, _ = functional(DiT(CONFIG, rngs=nnx.Rngs(1)))
    assert other == apply
    assert hash(other) == hash(apply)


def test_dropout_depends_on_the_key_alone() -> None:
    apply, parameters = functional(model())

    compiled = jit(partial(apply, deterministic=False))

    def drop(seed: int) -> jax.Array:
        out: jax.Array = compiled(parameters, X, T, LABELS, key=jax.random.key(seed))
        return out

    np.testing.assert_array_equal(drop(3), drop(3))
    assert float(jnp.abs(drop(3) - drop(4)).max()) > 1e-3


def test_perturbed_parts_are_those_of_the_perturbed_network() -> None:
    apply, parameters = functional(model())
    weak = apply.perturbed(identity_attention=["blocks.0"], skip=["blocks.1"])
    expected = run(perturbed(model(), identity_attention=["blocks.0"], skip=["blocks.1"]))
    np.testing.assert_array_equal(jit(weak)(parameters, X, T, LABELS), expected)
    assert weak != apply
    with pytest.raises(ValueError, match=r"there is no block to leave out at 'blocks\.7'"):
        apply.perturbed(skip=["blocks.7"])(parameters, X, T)


def test_gradients_by_the_trained_part() -> None:
    apply, parameters = functional(model())
    trained, rest = nnx.split_state(parameters, nnx.Param, ...)

    def loss(trained: nnx.State) -> jax.Array:  # type: ignore[type-arg]
        return jnp.mean(apply(nnx.merge_state(trained, rest), X, T, LABELS) ** 2)

    def direct(model: DiT) -> jax.Array:
        return jnp.mean(model(X, T, LABELS) ** 2)

    expected = jit(nnx.grad(direct))(model())
    jax.tree.map(np.testing.assert_array_equal, jit(jax.grad(loss))(trained), expected)
