"""Langevin's corrections bring a coarse walk closer to the data, and leave a right law right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.samplers import Ddim, Ddpm, UniPc, noised, predictor_corrector, prior, sample
from artifex.schedules import EDM, VP, grid
from tests.samplers.cases import falling
from tests.samplers.test_law import COVARIANCE, MEAN, denoiser


def off(got: jax.Array) -> tuple[float, float]:
    host = np.asarray(got, np.float64)
    return float(np.abs(host.mean(0) - MEAN).max()), float(np.abs(np.cov(host.T) - COVARIANCE).max())


def test_corrections_correct() -> None:
    table = Ddpm().tableau(EDM(), falling(20.0, 0.01, 12))
    x = prior(table, (8192, 2), jax.random.key(0))
    plain = off(predictor_corrector(denoiser(), table, x, jax.random.key(1), corrections=0))
    corrected = off(predictor_corrector(denoiser(), table, x, jax.random.key(1), corrections=8, snr=0.3))
    assert plain[1] > 0.1
    assert corrected[1] < plain[1] / 2
    assert corrected[0] < 0.1


def test_without_corrections_it_is_the_table() -> None:
    table = Ddim().tableau(VP(), grid.uniform(8))
    x = prior(table, (3, 2), jax.random.key(0))
    got = predictor_corrector(denoiser(), table, x, jax.random.key(1), corrections=0)
    np.testing.assert_allclose(got, sample(denoiser(), table, x), atol=1e-5)


def test_a_right_law_stays_right() -> None:
    table = Ddim().tableau(EDM(), np.array([0.5, 0.49]))
    x0 = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 8192).astype(np.float32)
    x = noised(table, jnp.asarray(x0), jax.random.key(0))
    got = predictor_corrector(denoiser(), table, x, jax.random.key(1), corrections=40, snr=0.05)
    np.testing.assert_allclose(np.cov(np.asarray(got).T), COVARIANCE + 0.24 * np.eye(2), atol=0.05)
    assert np.corrcoef(np.asarray(got)[:, 0], np.asarray(x)[:, 0])[0, 1] < 0.95


def test_a_sample_does_not_know_its_batch() -> None:
    table, keys = Ddpm().tableau(EDM(), falling(20.0, 0.01, 4)), jax.random.split(jax.random.key(2), 8)
    x = prior(table, (8, 2), jax.random.key(0))
    whole = predictor_corrector(denoiser(), table, x, keys)
    np.testing.assert_allclose(predictor_corrector(denoiser(), table, x[:3], keys[:3]), whole[:3], atol=1e-6)


def test_what_cannot_be_corrected() -> None:
    x, key = jnp.zeros((2, 2)), jax.random.key(0)
    with pytest.raises(ValueError, match="only a method without a base state or older predictions"):
        predictor_corrector(denoiser(), UniPc(2).tableau(VP(), grid.uniform(5)), x, key)
    table = Ddim().tableau(VP(), grid.uniform(5))
    with pytest.raises(ValueError, match="corrections must be at least 0 and snr positive, got -1 and 0.16"):
        predictor_corrector(denoiser(), table, x, key, corrections=-1)
    with pytest.raises(ValueError, match="got 1 and 0"):
        predictor_corrector(denoiser(), table, x, key, snr=0)
