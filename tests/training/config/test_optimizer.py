from math import cos, inf, nan, pi, sqrt
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.training import OptimizerConfig
from artifex.training.config.optimizer import Curve, Name, learning_rate, make_optimizer

# Of 100 steps, 10 of them warm-up, at steps 0, 5, 10, 40, 100; the top is 2.
CURVES: dict[Curve, list[float]] = {
    "constant": [0, 1, 2, 2, 2],
    "cosine": [0, 1, 2, 1 + cos(pi * 30 / 91), 1 + cos(pi * 90 / 91)],
    "linear": [0, 1, 2, 2 * 61 / 91, 2 * 1 / 91],
    "rsqrt": [0, 1, 2, 2 * sqrt(10 / 40), 2 * sqrt(10 / 100)],
}


@pytest.mark.slow
@pytest.mark.parametrize("schedule", get_args(Curve))
def test_learning_rates_follow_their_formulas(schedule: Curve) -> None:
    config = OptimizerConfig(learning_rate=2.0, schedule=schedule, warmup_steps=50)
    rate = learning_rate(config, 100)
    assert np.allclose([rate(k) for k in (0, 5, 10, 40, 100)], CURVES[schedule], rtol=1e-5)


def test_without_warm_up_the_top_is_first() -> None:
    for schedule in get_args(Curve):
        assert learning_rate(OptimizerConfig(learning_rate=2.0, schedule=schedule, warmup_steps=0), 100)(0) == 2
        assert learning_rate(OptimizerConfig(learning_rate=2.0, schedule=schedule), 1)(0) == 2


@pytest.mark.parametrize("name", get_args(Name))
def test_every_name_is_an_optimizer(name: Name) -> None:
    parameters = {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}
    optimizer = make_optimizer(OptimizerConfig(name=name), 10)
    updates, _ = jax.eval_shape(optimizer.update, parameters, jax.eval_shape(optimizer.init, parameters), parameters)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, parameters)


@pytest.mark.slow
def test_clipping_decay_and_options_reach_optax() -> None:
    steady = {"learning_rate": 1.0, "schedule": "constant", "warmup_steps": 0}
    gradient, zero = {"w": jnp.array([3.0, 4.0])}, {"w": jnp.zeros(2)}

    def update(config: dict[str, object], gradient: dict[str, jax.Array], weights: dict[str, jax.Array]) -> jax.Array:
        optimizer = make_optimizer(OptimizerConfig.model_validate(config), 10)
        updates: dict[str, jax.Array] = optimizer.update(gradient, optimizer.init(weights), weights)[0]
        return updates["w"]

    assert np.allclose(update({**steady, "name": "sgd", "clip_norm": 0.5}, gradient, zero), [-0.3, -0.4])
    assert np.allclose(update({**steady, "name": "sgd", "clip_norm": None}, gradient, zero), [-3, -4])
    # With a gradient of zero, AdamW's update is the decay alone; lion moves by the sign.
    decay = {**steady, "name": "adamw", "weight_decay": 0.1}
    assert np.allclose(update(decay, zero, {"w": jnp.array([2.0, 3.0])}), [-0.2, -0.3])
    assert np.allclose(update({**steady, "name": "lion", "options": {"b1": 0.9}}, gradient, zero), [-1, -1])
    momentum = {**steady, "name": "sgd", "clip_norm": None, "options": {"momentum": 0.5, "nesterov": True}}
    assert np.allclose(update(momentum, gradient, zero), [-4.5, -6])


@pytest.mark.parametrize(("name", "value"), [("b1", 1.0), ("b2", -0.1), ("b1", nan), ("eps", -1e-9), ("eps", inf)])
def test_options_outside_of_their_range(name: str, value: float) -> None:
    """Adam's means forget at rates in [0, 1), and what is added to its root is not negative."""
    OptimizerConfig(options={name: 0.0})
    with pytest.raises(ValueError, match=rf"options\.{name}"):
        OptimizerConfig(options={name: value})
