import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from artifex.backbones import DirectionParam, force_weight_norm
from artifex.backbones.magnitude_preserving import MPConv

pytestmark = pytest.mark.slow

SHAPES = {3: (3, 3, 5, 4), 1: (1, 1, 5, 4), 0: (5, 4)}


def exact(weight: np.ndarray) -> np.ndarray:
    """The paper's formula in float64, one row at a time."""
    out = weight.astype(np.float64)
    for unit in range(weight.shape[-1]):
        norm = np.sqrt(np.sum(out[..., unit] ** 2))
        out[..., unit] *= np.sqrt(out[..., unit].size) / norm
    return out


@pytest.mark.parametrize("size", SHAPES)
def test_rows_get_the_papers_length_and_the_output_stays(size: int) -> None:
    layer = MPConv(5, 4, size, rngs=nnx.Rngs(size))
    assert layer.kernel.shape == SHAPES[size]
    rng = np.random.default_rng(0)
    wild = (rng.normal(size=SHAPES[size]) * 10.0 ** rng.uniform(-3, 3, 4)).astype(np.float32)
    layer.kernel[...] = jnp.asarray(wild)
    x = jnp.asarray(rng.normal(size=(2, 5) if size == 0 else (2, 4, 4, 5)), jnp.float32)
    before = layer(x)
    nnx.update(layer, force_weight_norm(nnx.state(layer)))
    np.testing.assert_allclose(layer.kernel[...], exact(wild), rtol=1e-6)
    np.testing.assert_allclose(layer(x), before, atol=1e-5)


def test_other_parameters_and_dtypes_stay_as_they_are() -> None:
    state = {
        "half": DirectionParam(jnp.full((8, 2), 3.0, jnp.bfloat16)),
        "gone": DirectionParam(jnp.zeros((8, 2))),
        "plain": nnx.Param(jnp.full((8, 2), 3.0)),
    }
    forced = force_weight_norm(state)
    jax.tree.map(lambda a, b: None, forced, state)  # of one structure
    assert forced["half"][...].dtype == jnp.bfloat16
    np.testing.assert_array_equal(forced["half"][...], jnp.ones((8, 2), jnp.bfloat16))
    np.testing.assert_array_equal(forced["gone"][...], jnp.zeros((8, 2)))
    np.testing.assert_array_equal(forced["plain"][...], state["plain"][...])
    with pytest.raises(ValueError, match="must be variables of nnx, as nnx"):
        force_weight_norm({"kernel": jnp.ones((8, 2))})


def test_a_step_of_a_users_own_turns_weights_and_does_not_lengthen_them() -> None:
    layer = MPConv(5, 4, 0, rngs=nnx.Rngs(0))
    nnx.update(layer, force_weight_norm(nnx.state(layer, nnx.Param)))
    optimizer = nnx.Optimizer(layer, optax.sgd(0.5), wrt=nnx.Param)
    x, y = (jnp.asarray(np.random.default_rng(i).normal(size=(16, n)), jnp.float32) for i, n in enumerate((5, 4)))
    kernel = layer.kernel[...]
    gradient = nnx.grad(lambda layer: jnp.sum((layer(x) - y) ** 2))(layer)
    # It has no part along a unit's weights, so that a step alone makes them longer.
    along = jnp.sum(gradient["kernel"][...] * kernel, axis=0)
    np.testing.assert_allclose(along, np.zeros(4), atol=1e-4)
    optimizer.update(layer, gradient)
    moved = np.asarray(layer.kernel[...])
    assert (np.linalg.norm(moved, axis=0) > 1.1 * np.sqrt(5)).all()
    nnx.update(layer, force_weight_norm(nnx.state(layer, nnx.Param)))
    np.testing.assert_allclose(layer.kernel[...], exact(moved), rtol=1e-6)
