"""The score model with an exact denoiser: x_t = x0 + sigma(t) eps, sigma(t) = sigma_min (sigma_max / sigma_min)^t."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array, Float

from artifex.generative_models.models.diffusion import ScoreDiffusionModel
from tests.models.exact import COUNT, MEAN, SHAPE, STD, X, assert_moments, config, traced

pytestmark = pytest.mark.slow

LOW = 0.01


class ExactScoreNoise(nnx.Module):
    """E[eps | x_t] of the Gaussian data; its time ends at ``last``."""

    def __init__(self, high: float, last: float) -> None:
        self.unused = nnx.Param(jnp.zeros(()))
        self.high, self.last = high, last

    def __call__(self, x: X, t: Float[Array, " b"], cond: Array | None = None, *, deterministic: bool = True) -> X:
        sigma = (LOW * (self.high / LOW) ** (t / self.last)).reshape(-1, *(1,) * (x.ndim - 1))
        return sigma * (x - MEAN) / (STD**2 + sigma**2)


def model(high: float, **parameters: object) -> ScoreDiffusionModel:
    """A model whose network's time ends at 999, the last of a thousand timesteps."""
    return ScoreDiffusionModel(
        config=config("ScoreDiffusionModel", sigma_min=LOW, sigma_max=high, **parameters),
        rngs=nnx.Rngs(0),
        backbone_fn=lambda _, rngs: ExactScoreNoise(high, 999.0),
    )


MODEL = model(8.0)


def moments(high: float, steps: int) -> tuple[float, float]:
    r"""Mean and std of samples of the reverse SDE in ``steps`` calls, times evenly spaced from 1 to 0.

    Each step draws from $q(x_s \mid x_t, \hat x_0)$ of the process; the last returns $\hat x_0$. In float64.
    """
    sigmas = [*(LOW * (high / LOW) ** np.linspace(1, 0, steps)), 0.0]
    m, v = 0.0, high**2
    for t, s in pairwise(sigmas):
        gain, ratio = STD**2 / (STD**2 + t**2), (s / t) ** 2
        m = ratio * m + (1 - ratio) * (MEAN + gain * (m - MEAN))
        v = (ratio + (1 - ratio) * gain) ** 2 * v + s**2 * (1 - ratio)
    return float(m), float(np.sqrt(v))


@pytest.mark.parametrize("high", [8.0, 50.0])
def test_samples_reproduce_the_gaussian(high: float) -> None:
    """Within 4.5 standard errors of the recursion, which is within 2% of the data's std at 1,000 steps."""
    mean, std = moments(high, 1000)
    assert std == pytest.approx(STD, rel=0.02)
    assert mean == pytest.approx(MEAN, abs=0.02 * STD)
    assert_moments(model(high).sample(COUNT), mean, std)


def test_fewer_steps_have_the_recursions_bias() -> None:
    mean, std = moments(8.0, 25)
    assert abs(std / STD - 1) > 0.1
    assert_moments(MODEL.sample(COUNT, num_steps=25), mean, std)
    errors = [abs(moments(8.0, steps)[1] - STD) for steps in (25, 50, 100, 400, 1000)]
    assert np.all(np.diff(errors) < 0)


def test_generate_follows_the_models_own_process() -> None:
    """As many steps as ``noise_steps``, and clipping can be disabled."""
    short = model(8.0, noise_steps=25)
    assert_moments(short.generate(COUNT, clip_denoised=False), *moments(8.0, 25))
    assert float(jnp.abs(short.generate(COUNT)).max()) <= 1.0


def test_score_is_that_of_the_noisy_gaussian() -> None:
    """grad log N(x; m, s^2 + sigma^2) = (m - x) / (s^2 + sigma^2), times ``score_scaling``."""
    x = jax.random.normal(jax.random.key(0), (3, *SHAPE))
    sigma = LOW * 800 ** np.array([0.0, 0.25, 1.0]).reshape(3, 1, 1, 1)
    expected = (MEAN - np.asarray(x, np.float64)) / (STD**2 + sigma**2)
    for scaling in (1.0, 2.0):
        found = model(8.0, score_scaling=scaling).score(x, jnp.array([0.0, 0.25, 1.0]))
        np.testing.assert_allclose(found, scaling * expected, rtol=2e-5, atol=1e-6)


def test_score_scaling_is_part_of_sampling() -> None:
    """Twice the score moves twice as far towards the prediction."""
    a, b = (model(8.0, score_scaling=s).sample(4, num_steps=25, rngs=nnx.Rngs(1)) for s in (1.0, 1.05))
    assert float(jnp.abs(a - b).max()) > 1e-3


def test_trajectory_has_a_state_for_every_step_and_ends_in_the_samples() -> None:
    states = MODEL.sample(4, num_steps=25, return_trajectory=True, rngs=nnx.Rngs(3))
    assert isinstance(states, list)
    assert [state.shape for state in states] == [(4, *SHAPE)] * 25
    np.testing.assert_allclose(states[-1], MODEL.sample(4, num_steps=25, rngs=nnx.Rngs(3)), atol=1e-6)
    assert traced(lambda rngs: MODEL.sample(4, rngs=rngs, return_trajectory=True)[0]).shape == (4, *SHAPE)


def test_noise_and_loss_are_the_models_own() -> None:
    """The loss is the score's squared error under the weight sigma^2; integer timesteps cover [0, 1] evenly."""
    x, eps = (jax.random.normal(jax.random.key(seed), (5, *SHAPE)) for seed in (1, 2))
    t = jnp.array([0.0, 0.1, 0.4, 0.7, 1.0])
    sigma = LOW * 800 ** np.asarray(t, np.float64).reshape(5, 1, 1, 1)
    x_t = MODEL.q_sample(x, t, eps)
    np.testing.assert_allclose(x_t, np.asarray(x) + sigma * np.asarray(eps), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(MODEL.predict_start_from_noise(x_t, t, eps), x, atol=2e-6)
    outputs = MODEL(x_t, t)
    given = MODEL.loss_fn({"x": x, "noise": eps}, outputs)["loss"]
    np.testing.assert_allclose(MODEL.loss_fn(x, outputs)["loss"], given, rtol=1e-4)
    scores = np.asarray(MODEL.score(x_t, t), np.float64)
    np.testing.assert_allclose(given, np.mean(sigma**2 * (scores + np.asarray(eps) / sigma) ** 2), rtol=1e-5)
    whole = MODEL.q_sample(x, jnp.array([0, 0, 0, 999, 999]), eps)
    np.testing.assert_allclose(whole, MODEL.q_sample(x, jnp.array([0.0, 0.0, 0.0, 1.0, 1.0]), eps), rtol=1e-6)


@pytest.mark.parametrize("scaling", [1.0, 2.0])
def test_p_sample_draws_from_the_posterior_under_the_scaled_score(scaling: float) -> None:
    """One of eleven timesteps down: sigma falls by 800^(1/10), the mean moves by 1 minus its square towards x0."""
    short, count = model(8.0, noise_steps=11, score_scaling=scaling), 20_000
    low, high = LOW * 800 ** (np.array([5, 6]) / 10)
    ratio, x0 = (low / high) ** 2, 3 - scaling * high
    x_t, eps, t = jnp.full(count, 3.0), jnp.full(count, 1.0), jnp.full(count, 6)
    draws = np.asarray(short.p_sample(eps, x_t, t, clip_denoised=False, rngs=nnx.Rngs(2)), np.float64)
    std = low * np.sqrt(1 - ratio)
    assert abs(draws.mean() - (x0 + ratio * (3 - x0))) < 4.5 * std / np.sqrt(count) + 1e-6
    assert abs(draws.std() / std - 1) < 4.5 / np.sqrt(2 * count)


def test_default_sigmas_and_no_betas() -> None:
    plain = ScoreDiffusionModel(
        config=config("ScoreDiffusionModel"), rngs=nnx.Rngs(0), backbone_fn=lambda _, rngs: ExactScoreNoise(1.0, 999.0)
    )
    x = jnp.zeros((2, *SHAPE))
    noisy = plain.q_sample(x, jnp.array([0.0, 1.0]), x + 1)
    np.testing.assert_allclose(noisy.mean(axis=(1, 2, 3)), [0.01, 1.0], rtol=1e-5)
    with pytest.raises(AttributeError, match="no chain of betas"):
        _ = plain.betas
