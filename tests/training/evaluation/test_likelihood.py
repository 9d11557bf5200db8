"""Bits per dimension of Gaussians, which are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import EDM
from artifex.training.evaluation import likelihood
from artifex.training.evaluation.likelihood_bits import levels_of
from tests.samplers.test_law import Gaussian

KEY = jax.random.key(0)
ONE = Gaussian(jnp.array([0.4]), jnp.eye(1), jnp.array([0.25]))
"""N(0.4, 0.5^2)."""


@pytest.mark.slow
def test_the_entropy() -> None:
    """One deviation above and below the mean: together they have the mean log density that the law expects."""
    x = np.array([[0.9], [-0.1]] * 50, np.float32)
    score = likelihood(ONE, EDM(), x, 5000.0, 2e-3, KEY, levels=None, batch_size=100, name="N(0.4, 0.25)")
    assert score.value == pytest.approx(1.0470955852, abs=3e-4)
    assert score.error == pytest.approx(0, abs=1e-3)
    assert (score.generated, score.real, score.better) == (None, 100, "lower")
    settings = "dequantization = none, divergence = 1 Rademacher probes, solver = Tsit5, rtol = 1e-05, atol = 1e-05"
    assert str(score).endswith(f"(density of N(0.4, 0.25); 100 real; {settings}, start = 5000.0, end = 0.002)")
    exact = likelihood(ONE, EDM(), x[:3], 5000.0, 2e-3, KEY, levels=None, probes=None, batch_size=2)
    assert exact.value == pytest.approx(1.0470955852, abs=3e-4)
    assert (exact.real, exact.settings["divergence"]) == (3, "exact")


@pytest.mark.slow
def test_the_bound_of_dequantized_levels() -> None:
    """Noise of width w adds w^2 / 12 to every squared distance, and each bin its -log w."""
    x = np.repeat(np.array([[-1.0], [0.0], [0.5], [1.0]], np.float32), 100, axis=0)
    score = likelihood(ONE, EDM(), x, 5000.0, 2e-3, KEY, levels=5, batch_size=100)
    nats = 0.5 * np.log(2 * np.pi * 0.25) + (np.mean((x - 0.4) ** 2) + 0.5**2 / 12) / (2 * 0.25)
    assert score.error is not None
    assert score.value == pytest.approx(nats / np.log(2) - np.log2(0.5), abs=0.1)
    assert score.settings["dequantization"] == "uniform, 5 levels"


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.arange(256) / 255 * 2 - 1, 256),
        (np.array([0, 255, 7], np.float32) / np.float32(127.5) - 1, 256),
        (np.array([-1.0, 1.0, 1.0]), 2),
        (np.arange(17) / 8 - 1, None),
        (np.array([0.1, 0.2]), None),
        (np.array([-1.0, 1.0, 3.0]), None),
    ],
    ids=["bytes", "bytes, in float32", "bits", "seventeen", "none", "out of range"],
)
def test_levels_are_seen(x: np.ndarray, expected: int | None) -> None:
    assert levels_of(x.astype(np.float32)[:, None]) == expected


def test_bad_input() -> None:
    x = np.array([[0.3]], np.float32)
    with pytest.raises(ValueError, match=r"samples must be at one of 5 levels in \[-1, 1\], got one that is 0.2 away"):
        likelihood(ONE, EDM(), x, 5000.0, 2e-3, KEY, levels=5)
    with pytest.raises(ValueError, match="got one that is 2 away"):
        likelihood(ONE, EDM(), x * 0 + 3, 5000.0, 2e-3, KEY, levels=5)
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        likelihood(ONE, EDM(), x, 5000.0, 2e-3, KEY, levels=1)
    with pytest.raises(ValueError, match=r"samples must be at least 1, got shape \(0, 1\)"):
        likelihood(ONE, EDM(), x[:0], 5000.0, 2e-3, KEY)
    with pytest.raises(ValueError, match="samples must be finite"):
        likelihood(ONE, EDM(), x * np.nan, 5000.0, 2e-3, KEY)
