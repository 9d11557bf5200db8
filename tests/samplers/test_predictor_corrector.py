"""Langevin's corrections bring a coarse walk closer to the data, and leave a right law right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.samplers import DDIM, DDPM, UniPC, predictor_corrector, prior, sample, with_corrector
from artifex.schedules import EDM, VP, grid
from tests.samplers.cases import falling
from tests.samplers.test_law import COVARIANCE, MEAN, Gaussian, denoiser, law


def test_rows_that_correct() -> None:
    """By the exact law of the table: a coarse walk comes closer to the data."""
    table = DDPM().tableau(EDM(), falling(20.0, 0.01, 12))
    off = []
    for corrections in (0, 2, 8):
        mean, covariance = law(with_corrector(table, corrections, 0.3), MEAN, COVARIANCE)
        off.append(np.abs(covariance - COVARIANCE).max())
        assert np.abs(mean - MEAN).max() < 0.01
    assert off[0] > 0.1
    assert off[2] < off[1] < off[0]
    assert off[2] < 0.6 * off[0]
    assert with_corrector(table, 2).rows == 36
    np.testing.assert_array_equal(with_corrector(table, 0).evaluate, table.evaluate)


def test_rows_that_correct_leave_a_point_where_it_is() -> None:
    table = with_corrector(DDIM().tableau(VP(), grid.uniform(5, 1.0, 0.2)), 3)
    mean, covariance = law(table, MEAN, np.zeros((2, 2)))
    np.testing.assert_allclose(mean, table.end.alpha * MEAN, atol=1e-12)
    np.testing.assert_allclose(covariance, table.end.sigma**2 * np.eye(2), atol=1e-12)


@pytest.mark.slow
def test_measured_corrections_correct() -> None:
    """Data of 64 independent numbers, where a sample's own norms are good measures."""
    wide = Gaussian(jnp.full(64, 0.4), jnp.eye(64), jnp.full(64, 0.25))
    table = DDPM().tableau(EDM(), falling(20.0, 0.01, 12))
    x = prior(table, (512, 64), jax.random.key(0))
    spread = [
        float(predictor_corrector(wide, table, x, jax.random.key(1), corrections=n, snr=0.3).var()) for n in (0, 8)
    ]
    assert abs(spread[0] - 0.25) > 0.03
    assert abs(spread[1] - 0.25) < abs(spread[0] - 0.25) / 2


@pytest.mark.slow
def test_without_corrections_it_is_the_table() -> None:
    table = DDIM().tableau(VP(), grid.uniform(8))
    x = prior(table, (3, 2), jax.random.key(0))
    got = predictor_corrector(denoiser(), table, x, jax.random.key(1), corrections=0)
    np.testing.assert_allclose(got, sample(denoiser(), table, x), atol=1e-5)


@pytest.mark.slow
def test_samples_are_independent_of_their_batch() -> None:
    table, keys = DDPM().tableau(EDM(), falling(20.0, 0.01, 4)), jax.random.split(jax.random.key(2), 8)
    x = prior(table, (8, 2), jax.random.key(0))
    whole = predictor_corrector(denoiser(), table, x, keys)
    # The same program: the same bits.
    other = predictor_corrector(denoiser(), table, x.at[3:].multiply(2), keys)
    np.testing.assert_array_equal(other[:3], whole[:3])
    # Another size is another program. Four rows, each a corrector and a predictor of two sums, round the largest state.
    rounding = 4 * 2 * 2 * 2.0**-24 * float(jnp.abs(x).max())
    np.testing.assert_allclose(
        predictor_corrector(denoiser(), table, x[:3], keys[:3]), whole[:3], atol=rounding, rtol=0
    )


def test_what_cannot_be_corrected() -> None:
    x, key = jnp.zeros((2, 2)), jax.random.key(0)
    with pytest.raises(ValueError, match="only a method without a base state or older predictions"):
        predictor_corrector(denoiser(), UniPC(2).tableau(VP(), grid.uniform(5)), x, key)
    with pytest.raises(ValueError, match="only a method without a base state or older predictions"):
        with_corrector(UniPC(2).tableau(VP(), grid.uniform(5)))
    table = DDIM().tableau(VP(), grid.uniform(5))
    with pytest.raises(ValueError, match=r"corrections must be at least 0, got -1"):
        predictor_corrector(denoiser(), table, x, key, corrections=-1)
    with pytest.raises(ValueError, match="snr must be positive and finite, got 0"):
        predictor_corrector(denoiser(), table, x, key, snr=0)
    with pytest.raises(ValueError, match=r"snr must be in \(0, 1\), got 1"):
        with_corrector(table, snr=1)
