"""The score model with a denoiser that is exact, against closed forms."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.generative_models.models.diffusion import ScoreDiffusionModel
from artifex.samplers import Ddpm
from artifex.schedules import VE, grid
from tests.models.exact import MEAN, STD, ExactScoreNoise, config, moments


def score_model(sigma_max: float = 8.0, **parameters: object) -> ScoreDiffusionModel:
    return ScoreDiffusionModel(
        config=config("ScoreDiffusionModel", sigma_max=sigma_max, **parameters),
        rngs=nnx.Rngs(0),
        backbone_fn=lambda _, rngs: ExactScoreNoise(0.01, sigma_max),
    )


@pytest.mark.parametrize("sigma_max", [8.0, 50.0])
def test_samples_have_the_moments_that_the_table_says(sigma_max: float) -> None:
    samples = np.asarray(score_model(sigma_max).sample(2048), np.float64)
    ve = VE(0.01, sigma_max)
    mean, std = moments(Ddpm().tableau(ve, grid.logsnr_uniform(ve, 1000, 1.0, 0.0)))
    error = std / np.sqrt(samples.size)
    assert std == pytest.approx(STD, rel=0.02)
    assert abs(samples.mean() - mean) < 4 * error
    assert abs(samples.std() - std) < 4 * error


def test_score_is_that_of_the_noisy_gaussian() -> None:
    x = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
    sigma = 0.01 * 800 ** np.array([0.0, 0.25, 1.0]).reshape(3, 1, 1, 1)
    expected = (MEAN - np.asarray(x)) / (STD**2 + sigma**2)
    for scaling in (1.0, 2.0):
        model = score_model(score_scaling=scaling)
        np.testing.assert_allclose(model.score(x, jnp.array([0.0, 0.25, 1.0])), scaling * expected, rtol=1e-4)
    whole = model.score(x, jnp.array([0, 0, 999]))
    np.testing.assert_allclose(whole[::2], 2 * expected[::2], rtol=1e-4)


def test_noise_and_loss_follow_the_models_own_process() -> None:
    model, rngs = score_model(), nnx.Rngs(1)
    x, eps = (jax.random.normal(rngs(), (4, 4, 4, 2)) for _ in range(2))
    t = jnp.array([0.0, 0.3, 0.7, 1.0])
    sigma = 0.01 * 800 ** np.asarray(t, np.float64).reshape(4, 1, 1, 1)
    x_t = model.q_sample(x, t, eps)
    np.testing.assert_allclose(x_t, np.asarray(x) + sigma * np.asarray(eps), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict_start_from_noise(x_t, t, eps), x, atol=2e-6)
    outputs = model(x_t, t)
    given = model.loss_fn({"x": x, "noise": eps}, outputs)["loss"]
    np.testing.assert_allclose(model.loss_fn(x, outputs)["loss"], given, rtol=1e-4)
    scores = -np.asarray(outputs["predicted_noise"]) / sigma
    weighted = np.mean(sigma**2 * (scores + np.asarray(eps) / sigma) ** 2)
    np.testing.assert_allclose(given, weighted, rtol=1e-5)


def test_trajectory_ends_in_the_samples() -> None:
    model = score_model()
    states = model.sample(2, num_steps=7, return_trajectory=True, rngs=nnx.Rngs(3))
    assert [s.shape for s in states] == [(2, 4, 4, 2)] * 7
    np.testing.assert_array_equal(states[-1], model.sample(2, num_steps=7, rngs=nnx.Rngs(3)))


@pytest.mark.parametrize("scaling", [1.0, 2.0])
def test_a_step_draws_from_the_posterior_under_the_scaled_score(scaling: float) -> None:
    model = score_model(noise_steps=11, score_scaling=scaling)
    sigma = 0.01 * 800 ** (np.array([5, 6]) / 10)
    ratio = (sigma[0] / sigma[1]) ** 2
    x_t, eps = jnp.full((20_000,), 3.0), jnp.full((20_000,), 1.0)
    x0 = 3 - scaling * sigma[1]
    draws = np.asarray(model.p_sample(eps, x_t, jnp.array(6), clip_denoised=False), np.float64)
    std = sigma[0] * np.sqrt(1 - ratio)
    assert draws.mean() == pytest.approx(x0 + ratio * (3 - x0), abs=4 * std / np.sqrt(20_000))
    assert draws.std() == pytest.approx(std, rel=0.02)


BAD: list[tuple[str, Callable[[], object], str]] = [
    ("time", lambda: score_model().score(jnp.ones((2, 4)), jnp.array([0.5, 1.5])), r"\[0, 1\], got values from 0.5 to"),
    ("times", lambda: score_model().score(jnp.ones((2, 4)), jnp.ones(3)), r"one a sample \(2,\), got shape \(3,\)"),
    ("nan", lambda: score_model().score(jnp.full((2, 4), jnp.nan), jnp.ones(2)), "x must be finite"),
    ("steps", lambda: score_model().sample(1, num_steps=0), "steps must be at least 1, got 0"),
    ("sigmas", lambda: score_model(sigma_max=0.005), "sigma_max must be above sigma_min = 0.01, got 0.005"),
]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_says_got_and_expected(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_it_has_no_betas() -> None:
    with pytest.raises(AttributeError, match="VE is no chain of betas"):
        _ = score_model().betas
