"""The loss recovers the true noise, or takes it as an argument."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import MLP, MLPConfig
from artifex.generative_models.models.diffusion import DiffusionModel, ModelConfig

pytestmark = pytest.mark.slow


def mlp(config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
    network = MLP(MLPConfig(features=config.input_dim[0], hidden=16, depth=1), rngs=rngs)
    network.out.kernel[...] = 0.3 * jax.random.normal(rngs(), network.out.kernel.shape)
    return network


CONFIG = ModelConfig(name="loss", model_class="DiffusionModel", input_dim=(4,))


@cache
def model() -> DiffusionModel:
    return DiffusionModel(CONFIG, mlp, rngs=nnx.Rngs(0))


T = jnp.array([0, 1, 100, 500, 900, 999])
X0 = jax.random.uniform(jax.random.key(0), (6, 4), minval=-1)
EPS = jax.random.normal(jax.random.key(1), (6, 4))


def test_documented_route_is_the_explicit_one() -> None:
    """The value is the mean squared error of the noise in float64, at both ends of the chain too."""
    outputs = model()(model().q_sample(X0, T, EPS), T, training=True)
    explicit = model().loss_fn({"x": X0, "noise": EPS}, outputs)
    expected = np.mean((np.asarray(outputs["predicted_noise"], np.float64) - np.asarray(EPS, np.float64)) ** 2)
    np.testing.assert_allclose(explicit["loss"], expected, rtol=1e-6)
    np.testing.assert_array_equal(explicit["mse"], explicit["loss"])
    for batch in ({"x": X0}, X0):
        found = model().loss_fn(batch, outputs, rngs=nnx.Rngs(3))
        assert set(found) >= {"loss", "mse"}
        np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    other = model().loss_fn({"x": X0, "noise": EPS + 1}, outputs)
    assert abs(float(other["loss"]) - expected) > 0.1


def test_gradients_of_both_routes_agree() -> None:
    graph, state = nnx.split(model())

    def loss(state: nnx.State[str, Array], explicit: bool) -> Array:
        model = nnx.merge(graph, state)
        outputs = model(model.q_sample(X0, T, EPS), T, training=True)
        return model.loss_fn({"x": X0, "noise": EPS} if explicit else {"x": X0}, outputs)["loss"]

    parameters = nnx.filter_state(state, nnx.Param)
    rest = nnx.filter_state(state, nnx.Not(nnx.Param))
    found, explicit = (jax.grad(lambda p, e=e: loss(nnx.merge_state(p, rest), e))(parameters) for e in (False, True))
    norms = jax.tree.map(lambda a, b: (float(jnp.abs(a - b).max()), float(jnp.abs(b).max())), found, explicit)
    pairs = jax.tree.leaves(norms, is_leaf=lambda leaf: isinstance(leaf, tuple))
    assert max(size for _, size in pairs) > 1e-2
    assert all(off <= 1e-4 * max(size for _, size in pairs) for off, _ in pairs)


@pytest.mark.parametrize(
    ("batch", "outputs", "missing"),
    [
        (X0, {"predicted_noise": EPS}, r"\['x_t', 'timesteps'\]"),
        ({"x": X0}, {"predicted_noise": EPS, "x_t": X0}, r"\['timesteps'\]"),
        ({"images": X0}, {"predicted_noise": EPS, "x_t": X0, "timesteps": T}, r"\['x'\]"),
    ],
    ids=["outputs", "times", "data"],
)
def test_it_says_what_it_misses(batch: Array | dict[str, Array], outputs: dict[str, Array], missing: str) -> None:
    with pytest.raises(ValueError, match=f"missing: {missing}"):
        model().loss_fn(batch, outputs)
