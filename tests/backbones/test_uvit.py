import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import Backbone, UViT, UViTConfig

pytestmark = pytest.mark.slow

SMALL = UViTConfig(in_channels=1, size=4, hidden=8, depth=3, heads=2, num_classes=5)


def test_published_sizes() -> None:
    sizes = ((UViTConfig.s_2(), 44), (UViTConfig.m_4(), 131), (UViTConfig.h_2(), 501))
    for config, millions in sizes:
        model = nnx.eval_shape(lambda config=config: UViT(config, rngs=nnx.Rngs(0)))
        assert isinstance(model, Backbone)
        leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
        assert round(sum(int(np.prod(leaf.shape)) for leaf in leaves) / 1e6) == millions


def test_every_input_and_parameter_counts_and_the_output_starts_at_zero() -> None:
    graph, shapes = nnx.split(nnx.eval_shape(lambda: UViT(SMALL, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype), shapes)
    x = jnp.asarray(rng.normal(size=(2, 4, 4, 1)), jnp.float32)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(state: nnx.State, x: jax.Array, t: jax.Array, y: jax.Array) -> tuple[jax.Array, nnx.State]:  # type: ignore[type-arg]
        out, pull = jax.vjp(lambda state: nnx.merge(graph, state)(x, t, y), state)
        return out, pull(jnp.ones_like(out).at[0].set(2.0))[0]

    t, y = jnp.array([10, 500]), jnp.array([1, 3])
    out, grads = run(state, x, t, y)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert float(jnp.abs(grad).max()) > 0, jax.tree_util.keystr(path)
    for changed in (
        run(state, x.at[0].add(1), t, y),
        run(state, x, t.at[0].set(9), y),
        run(state, x, t, y.at[0].set(5)),
    ):
        assert float(jnp.abs(changed[0][0] - out[0]).max()) > 1e-4
        np.testing.assert_allclose(changed[0][1], out[1], atol=1e-5)
    state["final_conv"]["kernel"][...] = jnp.zeros((3, 3, 1, 1))
    state["final_conv"]["bias"][...] = jnp.zeros(1)
    np.testing.assert_array_equal(run(state, x, t, y)[0], np.zeros(x.shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 4}, "depth must be odd, got 4"),
        ({"patch": 3}, "patch must divide size = 4, got 3"),
        ({"heads": 3}, "hidden must be even and a multiple of heads=3, got 8"),
    ],
)
def test_bad_configs_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="height and width must be 4, got 8 and 4"):
        nnx.eval_shape(lambda: UViT(SMALL, rngs=nnx.Rngs(0))(jnp.zeros((1, 8, 4, 1)), jnp.zeros(1)))
