"""DDIM: its nodes, its step and its inversion, against the document's formulas and Song et al. 2021."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.generative_models.models.diffusion import DDIMModel, ModelConfig
from tests.models.exact import LABEL_MEANS, MEAN, SHAPE, STD, ExactNoise, config, exact, linear_abar

pytestmark = pytest.mark.slow

ABAR = np.append(1.0, linear_abar())
"""ABAR[t + 1] belongs to timestep t; -1 is clean data."""
MODEL = DDIMModel(config("DDIMModel"), backbone_fn=exact, rngs=nnx.Rngs(0))
QUADRATIC = DDIMModel(config("DDIMModel", skip_type="quadratic"), backbone_fn=exact, rngs=nnx.Rngs(0))


class Counting(ExactNoise):
    """A network that records the time of each run, compiled or not."""

    def __init__(self, log: list[float]) -> None:
        super().__init__(linear_abar())
        self.tell = log.append

    def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
        jax.debug.callback(lambda value: self.tell(float(value)), t[0], ordered=True)
        return super().__call__(x, t, cond, deterministic=deterministic)


def test_timesteps_are_the_documented_ones() -> None:
    """999, 979 ... 19, 0; and quadratic ones, whose roots are evenly spaced as far as integers allow."""
    np.testing.assert_array_equal(MODEL.get_ddim_timesteps(50), [*range(999, 0, -20), 0])
    assert jnp.issubdtype(MODEL.get_ddim_timesteps(50).dtype, jnp.integer)
    for steps in (1, 7, 50, 999, 1000):
        for model in (MODEL, QUADRATIC):
            nodes = np.asarray(model.get_ddim_timesteps(steps))
            assert nodes.shape == (steps + 1,)
            assert nodes[-1] == 0
            assert nodes[0] == 999
            assert np.all(np.diff(nodes[:-1]) < 0)
    roots = np.sqrt(np.asarray(QUADRATIC.get_ddim_timesteps(10))[:-1])
    np.testing.assert_allclose(np.diff(roots), -np.sqrt(999) / 9, atol=0.6)


def test_parameters_are_the_defaults_of_its_methods() -> None:
    """``ddim_steps``, ``eta`` and ``skip_type`` are the defaults of generate and ddim_sample."""
    configured = DDIMModel(
        config("DDIMModel", ddim_steps=5, eta=1.0, skip_type="quadratic"), backbone_fn=exact, rngs=nnx.Rngs(0)
    )
    x = configured.ddim_sample(4, rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(QUADRATIC.ddim_sample(4, 5, 1.0, rngs=nnx.Rngs(1)), x)
    np.testing.assert_array_equal(configured.generate(4, rngs=nnx.Rngs(1)), x)
    assert float(jnp.abs(configured.ddim_sample(4, eta=0.0, rngs=nnx.Rngs(1)) - x).max()) > 0.01
    assert float(jnp.abs(MODEL.ddim_sample(4, 5, 1.0, rngs=nnx.Rngs(1)) - x).max()) > 0.01
    t, x_t, eps = jnp.full(4, 700), jnp.ones((4, *SHAPE)), jnp.zeros((4, *SHAPE))
    drawn = [configured.ddim_step(x_t, t, t - 200, eps, rngs=nnx.Rngs(s)) for s in (1, 2)]
    assert float(jnp.abs(drawn[0] - drawn[1]).max()) > 0.1


def test_step_is_the_documented_formula() -> None:
    """To rounding at ``eta = 0``; with eta 0.5 and 1, mean and standard deviation of 20,000 draws to 4.5 errors."""
    t, s, count = np.array([999, 500, 20]), np.array([979, 100, -1]), 20_000
    a, b = ABAR[t + 1], ABAR[s + 1]
    x_t, eps = np.array([0.3, -1.0, 0.5]), np.array([0.25, -0.5, 0.7])
    x0 = (x_t - np.sqrt(1 - a) * eps) / np.sqrt(a)
    args = (jnp.asarray(x_t, jnp.float32), jnp.asarray(t), jnp.asarray(s), jnp.asarray(eps, jnp.float32))
    expected = np.sqrt(b) * x0 + np.sqrt(1 - b) * eps
    np.testing.assert_allclose(MODEL.ddim_step(*args), expected, rtol=2e-6, atol=2e-6)
    x_many, t_many, s_many, eps_many = (jnp.repeat(value, count) for value in args)
    for eta in (0.5, 1.0):
        sigma = eta * np.sqrt((1 - b) / (1 - a)) * np.sqrt(1 - a / b)
        mean = np.sqrt(b) * x0 + np.sqrt(1 - b - sigma**2) * eps
        draws = np.asarray(
            MODEL.ddim_step(x_many, t_many, s_many, eps_many, eta, rngs=nnx.Rngs(3)), np.float64
        ).reshape(3, count)
        assert np.all(np.abs(draws.mean(axis=1) - mean) < 4.5 * sigma / np.sqrt(count) + 2e-6)
        assert np.all(np.abs(draws.std(axis=1) - sigma) < 4.5 * sigma / np.sqrt(2 * count) + 1e-6)


def test_a_walk_ends_on_the_last_prediction() -> None:
    """n steps are n calls of the network, at the nodes, and the sample is the x0 predicted by the last."""
    log: list[float] = []
    model = DDIMModel(config("DDIMModel"), backbone_fn=lambda _, rngs: Counting(log), rngs=nnx.Rngs(0))
    noise = jax.random.normal(jax.random.key(1), (1, *SHAPE))
    out = model.ddim_sample(1, 5, initial_noise=noise, clip_denoised=False)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert log == [999, 799, 599, 399, 199]
    x = noise
    for t, s in zip(log, [*log[1:], -1], strict=True):
        a = ABAR[int(t) + 1]
        eps = np.sqrt(1 - a) * (x - np.sqrt(a) * MEAN) / (a * STD**2 + 1 - a)
        x = model.ddim_step(x, jnp.array(int(t)), jnp.array(int(s)), eps)
    np.testing.assert_allclose(out, x, atol=2e-6)


@pytest.mark.parametrize("conditioning", [None, jnp.array([0, 1, 1])], ids=["plain", "conditional"])
def test_inversion_closes_the_circle_at_first_order(conditioning: Array | None) -> None:
    """The round trip is within 0.02 rms of the data with 200 steps, and half as far with twice as many."""
    center = MEAN if conditioning is None else jnp.asarray(LABEL_MEANS)[conditioning].reshape(3, 1, 1, 1)
    x0 = center + STD * 0.5 * jax.random.normal(jax.random.key(2), (3, *SHAPE))
    options = {} if conditioning is None else {"conditioning": conditioning}
    rms = []
    for steps in (100, 200, 400):
        noise = MODEL.ddim_reverse(x0, steps, **options)  # type: ignore[arg-type]
        back = MODEL.ddim_sample(3, steps, initial_noise=noise, **options)  # type: ignore[arg-type]
        rms.append(float(jnp.sqrt(jnp.mean((back - x0) ** 2))))
    assert rms[1] < 0.02
    assert rms[0] / rms[1] == pytest.approx(2, abs=0.4)
    assert rms[1] / rms[2] == pytest.approx(2, abs=0.4)


def test_inversion_takes_one_sample() -> None:
    x0 = MEAN + STD * jax.random.normal(jax.random.key(3), (2, *SHAPE))
    batch = MODEL.ddim_reverse(x0, 20)
    one = MODEL.ddim_reverse(x0[1], 20, rngs=nnx.Rngs(0))
    assert one.shape == SHAPE
    np.testing.assert_allclose(one, batch[1], atol=1e-5)


def test_initial_noise_is_where_every_walk_begins() -> None:
    noise = jax.random.normal(jax.random.key(0), (3, *SHAPE))
    walks: list[Callable[[nnx.Rngs], Array]] = [
        lambda rngs: MODEL.ddim_sample(3, 5, initial_noise=noise, rngs=rngs),
        lambda rngs: MODEL.sample(3, "ddim", 5, initial_noise=noise, rngs=rngs),
        lambda rngs: MODEL.generate(3, initial_noise=noise, rngs=rngs),
    ]
    for walk in walks:
        np.testing.assert_array_equal(walk(nnx.Rngs(1)), walk(nnx.Rngs(2)))
    other = MODEL.ddim_sample(3, 5, initial_noise=-noise)
    assert float(jnp.abs(other - MODEL.ddim_sample(3, 5, initial_noise=noise)).max()) > 0.1
    drawn = MODEL.ddim_sample(3, 5, rngs=nnx.Rngs(1), initial_noise=None)
    np.testing.assert_array_equal(drawn, MODEL.ddim_sample(3, 5, rngs=nnx.Rngs(1)))


def test_a_short_chain_may_be_walked_whole() -> None:
    short = ModelConfig(
        name="short", model_class="DDIMModel", input_dim=SHAPE, parameters={"noise_steps": 4, "ddim_steps": 4}
    )
    np.testing.assert_array_equal(
        DDIMModel(short, backbone_fn=exact, rngs=nnx.Rngs(0)).get_ddim_timesteps(4), [3, 2, 1, 0, 0]
    )
