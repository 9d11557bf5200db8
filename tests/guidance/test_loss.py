"""Guidance by a loss, on Gaussian data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.guidance import ClassifierFree, Interval, Loss
from tests.guidance.exact import ALPHA, HERE, LABELS, MEANS, SIGMA, SPREAD, X, call, clean, denoise, eps, with_variance

pytestmark = pytest.mark.slow

TILT = np.array([0.7, -1.1])
TARGET = np.array([1.5, 0.5])
GAIN = ALPHA * SPREAD**2 / (ALPHA**2 * SPREAD**2 + SIGMA**2)
CONDITIONAL = denoise(X, HERE, LABELS)


def linear(x0: Array) -> Array:
    return -x0 @ jnp.asarray(TILT, x0.dtype)


def squared(x0: Array) -> Array:
    return jnp.sum((x0 - jnp.asarray(TARGET[None], x0.dtype)) ** 2, axis=-1)


def test_a_linear_loss_tilts_a_gaussian_exactly() -> None:
    """exp(-loss) times a Gaussian is one of the same width, its mean moved by the variance times the slope."""
    with jax.enable_x64(True):
        got = call(Loss[Array](linear)(denoise, jnp.asarray(LABELS)))
    mean = MEANS[LABELS] + SPREAD**2 * TILT
    np.testing.assert_allclose(got, mean + GAIN * (X - ALPHA * mean), atol=1e-12)


def test_is_the_papers_formula_for_the_noise() -> None:
    with jax.enable_x64(True):
        got = call(Loss[Array](squared, 0.3)(denoise, jnp.asarray(LABELS)))
    slope = GAIN * 2 * (CONDITIONAL - TARGET)
    np.testing.assert_allclose(got, clean(eps(CONDITIONAL) + 0.3 * np.sqrt(1 - ALPHA**2) * slope), atol=1e-12)


def test_goes_through_any_guidance_and_leaves_a_variance_alone() -> None:
    """Guided away from the other class the mean moves, and the gain stays."""
    inside = ClassifierFree(3.0, jnp.asarray(1 - LABELS))
    got = call(Loss(squared, 0.3, inside)(with_variance, jnp.asarray(LABELS)))
    other = denoise(X, HERE, 1 - LABELS)
    x0 = other + 3 * (CONDITIONAL - other)
    push = 0.3 * SIGMA**2 / ALPHA * GAIN * 2 * (x0 - TARGET)
    v = np.tanh(other) + 3 * (np.tanh(CONDITIONAL) - np.tanh(other))
    np.testing.assert_allclose(got, np.concatenate([x0 - push, v], axis=-1), atol=1e-5)


@pytest.mark.usefixtures("unhooked")
def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"one number per sample, of shape \(4,\), got \(\)"):
        call(Loss[Array](lambda x0: jnp.sum(x0))(denoise, jnp.asarray(LABELS)))
    with pytest.raises(ValueError, match="one finite number, or one per sample, got nan"):
        Loss(linear, float("nan"))
    with pytest.raises(ValueError, match=r"outside must be 0\.0, got 1\.0"):
        Loss(linear, Interval(2.0))
