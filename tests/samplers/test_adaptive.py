"""The probability flow with adaptive steps, and likelihoods that are known in closed form."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.samplers import bits_per_dim, log_likelihood, probability_flow
from artifex.schedules import EDM, CosineVP, Discrete, Schedule, betas
from tests.samplers.analytic import GAUSSIAN
from tests.samplers.test_law import COVARIANCE, MEAN, Gaussian, denoiser

pytestmark = pytest.mark.slow

ONE = Gaussian(jnp.array([0.4]), jnp.eye(1), jnp.array([0.25]))


def test_the_exact_end_of_the_flow() -> None:
    x = jnp.array([[13.416239856425513], [9.0]])
    got = probability_flow(ONE, EDM(), x, 10.0, 0.05, rtol=1e-6, atol=1e-6)
    level = EDM().at(np.array([10.0, 0.05]))
    assert level.sigma[0] == 10
    assert float(got[0, 0]) == pytest.approx(1.0532419153728578, abs=1e-5)
    back = probability_flow(ONE, EDM(), got, 0.05, 10.0, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(back, x, rtol=2e-5)


def test_a_sample_takes_its_own_steps() -> None:
    x = 10 * jax.random.normal(jax.random.key(0), (8, 2))
    whole, alone = (probability_flow(denoiser(), EDM(), x[:size], 10.0, 0.05) for size in (8, 1))
    np.testing.assert_allclose(alone, whole[:1], atol=1e-4)


@pytest.mark.parametrize(
    ("schedule", "start", "end"),
    [(EDM(), 5000.0, 2e-3), (CosineVP(), 0.999, 1e-3), (Discrete(betas.linear(1000)), 999.0, 0.0)],
    ids=["edm", "cosine", "chain"],
)
def test_the_entropy_of_a_gaussian(schedule: Schedule, start: float, end: float) -> None:
    """The mean of -log p over N(0.4, 0.5^2), by Gauss and Hermite's quadrature, is its entropy."""
    places, weights = np.polynomial.hermite_e.hermegauss(7)
    x = jnp.asarray(0.4 + 0.5 * places, jnp.float32)[:, None]
    got = np.asarray(log_likelihood(ONE, schedule, x, start, end, rtol=1e-6, atol=1e-6), np.float64)
    level = schedule.at(np.asarray(end))
    variance = 0.25 + float(level.sigma / level.alpha) ** 2
    want = -0.5 * np.log(2 * np.pi * variance) - 0.5 * (0.5 * places) ** 2 / variance
    np.testing.assert_allclose(got, want, atol=0.02)  # the start is pure noise, which the data's mean is still in
    entropy = -float(got @ weights / weights.sum())
    assert entropy == pytest.approx(0.7257913526, abs=2e-3 if isinstance(schedule, Discrete) else 3e-4)


def test_bits_per_dim() -> None:
    assert float(bits_per_dim(jnp.array([-0.7257913526]), 1)[0]) == pytest.approx(1.0470955852, abs=1e-6)
    assert float(bits_per_dim(jnp.array([0.0]), 3, 2 / 256)[0]) == pytest.approx(7)


def test_hutchinsons_estimate_has_the_exact_mean() -> None:
    x = jnp.broadcast_to(jnp.array([0.9, -0.4]), (256, 2))
    exact = log_likelihood(denoiser(), EDM(), x[:1], 2000.0, 1e-2)
    got = log_likelihood(denoiser(), EDM(), x, 2000.0, 1e-2, key=jax.random.key(0))
    error = float(got.std()) / 16
    assert 0 < error < 0.05
    assert float(got.mean()) == pytest.approx(float(exact[0]), abs=4 * error)
    off = np.array([0.9, -0.4]) - MEAN
    want = -0.5 * off @ np.linalg.solve(COVARIANCE, off) - 0.5 * np.log(np.linalg.det(2 * np.pi * COVARIANCE))
    assert float(exact[0]) == pytest.approx(want, abs=1e-3)


def test_the_gaussian_is_the_tests_gaussian() -> None:
    assert GAUSSIAN.means == (0.4,)


def test_ends_without_a_finite_logsnr() -> None:
    with pytest.raises(ValueError, match=r"the log-SNR at start and end must be finite, got .* and inf"):
        probability_flow(ONE, EDM(), jnp.ones((1, 1)), 10.0, 0.0)
    with pytest.raises(ValueError, match="must be finite, got inf"):
        log_likelihood(ONE, EDM(), jnp.ones((1, 1)), 10.0, 0.0)


def test_no_probes() -> None:
    with pytest.raises(ValueError, match="probes must be at least 1, got 0"):
        log_likelihood(ONE, EDM(), jnp.ones((1, 1)), 10.0, 0.1, key=jax.random.key(0), probes=0)


def test_without_diffrax_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["diffrax"] = None
import jax.numpy as jnp
from artifex.samplers import probability_flow
from artifex.schedules import EDM
try:
    probability_flow(lambda x_t, level: x_t, EDM(), jnp.ones((1, 1)), 10.0, 0.1)
except ImportError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'artifex-samplers[ode]'" in out
