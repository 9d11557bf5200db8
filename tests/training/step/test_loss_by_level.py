import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.schedules import Discrete, V, betas
from artifex.training import Network, Objective, init_state, make_train_step
from artifex.training.config.optimizer import OptimizerConfig, make_optimizer
from artifex.training.ema import EMA
from artifex.training.step.loss_by_level import CENTERS, level_means, levels_of, mean_loss, no_levels
from tests.training.helpers.tiny import network

pytestmark = pytest.mark.slow


def test_each_loss_is_counted_at_its_level() -> None:
    logsnr = np.array([-np.inf, -30.0, -12.0, -0.5, -0.1, 0.0, 0.9, 11.9, 12.0, np.inf])
    losses = np.arange(1.0, 11.0)
    levels = levels_of(jnp.asarray(logsnr), jnp.asarray(losses))
    means = dict(zip(CENTERS, level_means(levels), strict=True))
    assert {center: mean for center, mean in means.items() if mean is not None} == {
        -11.5: 2.0, -0.5: 4.5, 0.5: 6.5, 11.5: 9.0
    }  # fmt: skip
    assert mean_loss(levels) == 5.5
    assert mean_loss(no_levels()) is None
    assert len(CENTERS) == len(level_means(no_levels())) == 24


def test_one_bad_loss_leaves_other_levels_alone() -> None:
    means = level_means(levels_of(jnp.asarray([-3.5, 3.5]), jnp.asarray([jnp.nan, 2.0])))
    assert np.isnan(means[8] or 0)
    assert means[15] == 2


def test_a_step_gathers_its_windows_losses() -> None:
    """Against the objective, draw by draw, outside of the step; steps 3 and 4 are a window of their own."""
    objective, seed = Objective(Discrete(betas.cosine(50)), V()), 3
    parts, optimizer = Network(network()), make_optimizer(OptimizerConfig(), 4)
    step = make_train_step(parts, objective, optimizer, EMA(0.0), seed=seed, accumulation_steps=2, window=2)
    state = init_state(parts, optimizer, EMA(0.0), 4)
    x0 = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (6, 2, 2, 1)), jnp.float32)
    total = np.zeros(24)

    @jax.jit
    def logsnr(k: int) -> Array:
        key = jax.random.split(jax.random.fold_in(jax.random.key(seed), k))[0]
        return objective.schedule.at(objective.draw(x0, None, key).t).logsnr

    for k in range(4):
        state, metrics = step(state, x0, jnp.zeros(6, jnp.int32))
        expected = np.histogram(np.clip(logsnr(k), -11.9, 11.9), np.linspace(-12, 12, 25))[0]
        total = expected if k % 2 == 0 else total + expected
        losses = np.asarray(state.losses[k - k % 2 : k + 1])
        assert np.array_equal(metrics.levels.number, total)
        assert np.isclose(mean_loss(metrics.levels) or 0, losses.mean(), rtol=1e-5)
        assert np.array_equal(state.levels.total, metrics.levels.total)
