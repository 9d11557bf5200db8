"""Samples of the models with an exact denoiser: mean and standard deviation against the papers' recursion."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.generative_models.models.diffusion import DDIMModel, DDPMModel
from tests.models.exact import (
    COUNT,
    MEAN,
    SHAPE,
    STD,
    assert_moments,
    config,
    exact,
    linear_abar,
    moments,
    trailing,
)

pytestmark = pytest.mark.slow

ABAR = linear_abar()
DDPM = DDPMModel(config("DDPMModel"), backbone_fn=exact, rngs=nnx.Rngs(0))
SHORT = DDPMModel(config("DDPMModel", noise_steps=40, beta_end=0.5), backbone_fn=exact, rngs=nnx.Rngs(1))
DDIM = {
    skip: DDIMModel(config("DDIMModel", skip_type=skip), backbone_fn=exact, rngs=nnx.Rngs(2))
    for skip in ("uniform", "quadratic")
}


def ddim_walk(skip: str, steps: int, eta: float) -> Callable[[], Array]:
    return lambda: DDIM[skip].ddim_sample(COUNT, steps, eta, clip_denoised=False)


def ddim_moments(skip: str, steps: int, eta: float) -> tuple[float, float]:
    nodes = np.asarray(DDIM[skip].get_ddim_timesteps(steps))[:-1].tolist()
    return moments(ABAR, nodes, eta)


WALKS: dict[str, tuple[Callable[[], Array], tuple[float, float]]] = {
    "ddpm, the whole chain": (
        lambda: DDPM.generate(COUNT, clip_denoised=False),
        moments(ABAR, trailing(1000, 1000), 1.0),
    ),
    "ddpm, a chain of 40": (
        lambda: SHORT.generate(COUNT, clip_denoised=False),
        moments(linear_abar(40, 1e-4, 0.5), trailing(40, 40), 1.0),
    ),
    "ddpm, respaced to 50": (
        lambda: DDPM.sample(COUNT, steps=50, clip_denoised=False),
        moments(ABAR, trailing(1000, 50), 1.0),
    ),
    "ddpm's ddim of 50": (
        lambda: DDPM.sample(COUNT, "ddim", 50, clip_denoised=False),
        moments(ABAR, trailing(1000, 50), 0.0),
    ),
    "ddim's generate": (
        lambda: DDIM["uniform"].generate(COUNT, clip_denoised=False),
        moments(ABAR, trailing(1000, 50), 0.0),
    ),
} | {
    f"ddim of {steps}, {skip}, eta {eta}": (ddim_walk(skip, steps, eta), ddim_moments(skip, steps, eta))
    for steps in (10, 20, 50)
    for skip in DDIM
    for eta in (0.0, 0.5, 1.0)
}


@pytest.mark.parametrize("name", WALKS)
def test_samples_have_the_moments_of_the_papers_recursion(name: str) -> None:
    """Within 4.5 standard errors of 32,768 elements: the mean to 0.0075, the standard deviation to 1.8%."""
    walk, (mean, std) = WALKS[name]
    assert_moments(walk(), mean, std)


def test_the_recursion_knows_the_bias_of_few_steps() -> None:
    """50 of 1,000 steps at 980, 960 ... 0 narrow a standard deviation of 0.3 to 0.275, as in other libraries."""
    assert moments(ABAR, range(980, -1, -20), 0.0, mean=0.0)[1] == pytest.approx(0.275, abs=5e-4)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_more_steps_come_closer_to_the_data(eta: float) -> None:
    """By the recursion tested above: both errors fall up to the whole chain."""
    errors = np.array([moments(ABAR, trailing(1000, k), eta) for k in (10, 20, 50, 200, 1000)]) - (MEAN, STD)
    assert np.all(np.diff(np.abs(errors[:, 1])) < 0)
    assert abs(errors[-1, 0]) < 2e-3
    assert abs(errors[-1, 1]) < 6e-3


def test_clipping_holds_every_prediction_to_the_data_range() -> None:
    """From noise five standard deviations off, unclipped samples end near 1.12; the last prediction is the sample."""
    far = jnp.full((2, *SHAPE), 5.0)
    by_default = DDPM.sample(2, "ddim", 10, initial_noise=far)
    clipped, free = (DDPM.sample(2, "ddim", 10, initial_noise=far, clip_denoised=clip) for clip in (True, False))
    np.testing.assert_array_equal(clipped, 1.0)
    np.testing.assert_array_equal(by_default, clipped)
    assert float(free.min()) > 1.1


def test_a_chain_that_ends_in_little_noise_is_walked_without_jit_too() -> None:
    """Ten steps of the published betas end at sigma 0.3: less than ``prior`` accepts, but the model's own process."""
    little = DDPMModel(config("DDPMModel", noise_steps=10), backbone_fn=exact, rngs=nnx.Rngs(3))
    with jax.disable_jit():
        assert little.sample(2, "ddim", 3, rngs=nnx.Rngs(4)).shape == (2, *SHAPE)
