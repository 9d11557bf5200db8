"""On Gaussian data the law of every walk follows from its table; the compiled walk keeps to it in test_combinations."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from artifex.samplers import DPM2, DPMSolverPPMultistep, EulerAncestral, Tableau
from artifex.schedules import EDM, NoiseLevel, expand
from artifex.schedules.arrays import HostArray, record
from tests.samplers.analytic import GAUSSIAN, walk
from tests.samplers.cases import DETERMINISTIC, IMPROPER, SOLVERS, STOCHASTIC, falling, walks

MEAN: Final = np.array([0.4, -1.0])
COVARIANCE: Final = np.array([[0.25, 0.12], [0.12, 0.5]])


@record
class Gaussian:
    """The denoiser of Gaussian data, in the basis where its covariance is diagonal."""

    mean: Array
    basis: Array
    variances: Array

    def __call__(self, x_t: Float[Array, "b d"], level: NoiseLevel[jax.Array]) -> Float[Array, "b d"]:
        alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
        mean, variances = self.mean[None], self.variances[None]
        gain = alpha * variances / (alpha**2 * variances + sigma**2)
        return mean + ((x_t - alpha * mean) @ self.basis * gain) @ self.basis.T


def denoiser() -> Gaussian:
    variances, basis = np.linalg.eigh(COVARIANCE)
    return Gaussian(*(jnp.asarray(a, jnp.float32) for a in (MEAN, basis, variances)))


def law(table: Tableau[HostArray], mean: HostArray, covariance: HostArray) -> tuple[HostArray, HostArray]:
    """Mean and covariance of the walk's end, from the law of the data at its first level, by linear recursion."""
    d, columns = len(mean), table.evaluate.shape[1]
    eye, a, s = np.eye(d), table.level.alpha, table.level.sigma
    names = columns - 1  # x_e, x_b and the history; the newest prediction is no state of its own
    center = np.zeros(names * d)
    spread = np.zeros((names * d, names * d))
    for i in range(2):
        center[i * d : (i + 1) * d] = a[0] * mean
        for j in range(2):
            spread[i * d : (i + 1) * d, j * d : (j + 1) * d] = a[0] ** 2 * covariance + s[0] ** 2 * eye

    for i in range(table.rows):
        gain = a[i] * covariance @ np.linalg.inv(a[i] ** 2 * covariance + s[i] ** 2 * eye)
        state = np.eye(names * d).reshape(names, d, names * d)
        newest = gain @ state[0]
        constant = (eye - a[i] * gain) @ mean
        terms = [state[0], state[1], newest, *state[2:]]
        shifts = [np.zeros(d), np.zeros(d), constant, *([np.zeros(d)] * (names - 2))]
        based = sum((w * t for w, t in zip(table.base[i], terms, strict=True)), np.zeros_like(newest))
        base_shift = sum((w * t for w, t in zip(table.base[i], shifts, strict=True)), np.zeros(d))
        terms[1], shifts[1] = based, base_shift
        moved = sum((w * t for w, t in zip(table.evaluate[i], terms, strict=True)), np.zeros_like(newest))
        shift = sum((w * t for w, t in zip(table.evaluate[i], shifts, strict=True)), np.zeros(d))
        kept = table.keep[i, 0] * state[0] + table.keep[i, 1] * newest
        move = np.concatenate([moved, based, kept, *state[2:-1]])[: names * d]
        offset = np.concatenate([shift, base_shift, table.keep[i, 1] * constant, np.zeros(names * d)])[: names * d]
        b = table.base_noise[i]
        e = table.noise[i] + table.evaluate[i, 1] * b
        noise = np.concatenate([e * eye, b * eye, np.zeros((names * d, d))])[: names * d]
        center = move @ center + offset
        spread = move @ spread @ move.T + noise @ noise.T
    return center[:d], spread[:d, :d]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DETERMINISTIC, *STOCHASTIC, "ddpm large", "dpm-solver 2m sde"])
def test_the_law_tends_to_the_data(name: str) -> None:
    def off(steps: int) -> HostArray:
        table = SOLVERS[name].tableau(EDM(), falling(10.0, 0.05, steps))
        mean, covariance = law(table, MEAN, COVARIANCE)
        return np.array([np.abs(mean - MEAN).max(), np.abs(covariance - COVARIANCE - 0.05**2 * np.eye(2)).max()])

    coarse, fine = off(100), off(400)
    assert np.all(fine < coarse / 3 + 1e-12)
    assert np.all(fine < (5e-3, 3e-2))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STOCHASTIC, *IMPROPER])
def test_the_law_is_that_of_the_walk(name: str) -> None:
    """The responses to each source of randomness; their squares add up to the covariance of the recursion."""
    for position, (schedule, times) in walks(6).items():
        table = SOLVERS[name].tableau(schedule, times)
        alpha, sigma = table.level.alpha[0], table.level.sigma[0]
        sources = np.eye(2 * table.rows + 2).reshape(-1, table.rows + 1, 2)
        start = sources[:, 0] @ np.linalg.cholesky(alpha**2 * COVARIANCE + sigma**2 * np.eye(2)).T
        ends = walk(table, centred, start, sources[:, 1:].swapaxes(0, 1))
        middle = walk(table, lambda x, a, s: MEAN + centred(x - a * MEAN, a, s), alpha * MEAN)
        mean, covariance = law(table, MEAN, COVARIANCE)
        np.testing.assert_allclose(mean, middle, atol=1e-9, err_msg=position)
        np.testing.assert_allclose(covariance, ends.T @ ends, atol=1e-9 * max(1, covariance.max()), err_msg=position)


def centred(x: HostArray, alpha: float, sigma: float) -> HostArray:
    """The denoiser of Gaussian data without a mean."""
    noisy = alpha**2 * COVARIANCE + sigma**2 * np.eye(2)
    return np.asarray(x @ np.linalg.solve(noisy, alpha * COVARIANCE))


def test_the_posterior_step_is_exact_where_the_data_has_one_point() -> None:
    """For data without spread the ancestral step is the posterior itself: the law is right at every step count."""
    for sampler in (EulerAncestral(), DPMSolverPPMultistep(2, eta=1.0), DPM2(eta=1.0)):
        table = sampler.tableau(EDM(), falling(10.0, 0.5, 4))
        mean, covariance = law(table, MEAN, np.zeros((2, 2)))
        np.testing.assert_allclose(mean, MEAN, atol=1e-12)
        np.testing.assert_allclose(covariance, 0.25 * np.eye(2), atol=1e-12)


def test_the_gaussian_problems_agree() -> None:
    one = GAUSSIAN.denoise(np.array([1.7]), 0.8, 0.6)
    level = NoiseLevel(t=jnp.zeros(1), alpha=jnp.full(1, 0.8), sigma=jnp.full(1, 0.6))
    other = Gaussian(jnp.array([0.4]), jnp.eye(1), jnp.array([0.25]))(jnp.array([[1.7]]), level)
    np.testing.assert_allclose(other[0], one, rtol=1e-6)
