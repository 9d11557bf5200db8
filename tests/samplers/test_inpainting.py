"""Walks from given data, around known data, and with numbers by the row."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from artifex.guidance import ClassifierFree
from artifex.samplers import (
    DDIM,
    DDPM,
    Heun,
    Inpainted,
    UniPC,
    prior,
    repaint,
    sample,
    sample_trajectory,
    sample_with_callback,
    start_from,
    truncate,
)
from artifex.schedules import EDM, VP, Discrete, NoiseLevel, ValueByTime, betas, expand, grid
from artifex.schedules.arrays import HostArray
from tests.samplers.cases import SOLVERS
from tests.samplers.test_law import denoiser, law
from tests.samplers.test_sample import Shrink

MEAN: Final = np.array([0.4, -1.0])
COVARIANCE: Final = np.array([[0.25, 0.12], [0.12, 0.5]])


@pytest.mark.parametrize(("strength", "steps"), [(1.0, 10), (0.5, 5), (0.3, 3), (0.31, 4), (0.01, 1)])
def test_the_tail_of_a_grid(strength: float, steps: int) -> None:
    times = grid.uniform(10)
    np.testing.assert_array_equal(truncate(times, strength), times[-steps - 1 :])


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.01])
def test_no_such_tail(strength: float) -> None:
    with pytest.raises(ValueError, match=r"strength must be in \(0, 1\]"):
        truncate(grid.uniform(10), strength)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [DDIM(), DDPM(), UniPC(2)], ids=repr)
def test_from_the_middle_the_law_is_still_the_data(sampler: DDIM) -> None:
    """Data start_from to a middle level and walked back is data again."""
    times = truncate(grid.uniform(400, 1.0, 1e-3), 0.2)
    table = sampler.tableau(VP(), times)
    assert table.level.t[0] < 0.21
    x0 = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 4096).astype(np.float32)
    x = start_from(table, jnp.asarray(x0), jax.random.key(0))
    got = np.asarray(sample(denoiser(), table, x, jax.random.key(1)))
    np.testing.assert_allclose(got.mean(0), MEAN, atol=0.05)
    np.testing.assert_allclose(np.cov(got.T), COVARIANCE, atol=0.06)
    assert np.corrcoef(got[:, 0], x0[:, 0])[0, 1] > 0.3


@pytest.mark.slow
def test_the_known_part_stays_on_its_path() -> None:
    table = DDPM().tableau(VP(), grid.uniform(20))
    known, mask = jnp.array([[1.5, 0.0]]), jnp.array([[1.0, 0.0]])
    x = start_from(table, jnp.broadcast_to(mask * known, (4096, 2)), jax.random.key(0))
    _, states = sample_trajectory(Inpainted(denoiser(), known, mask), table, x, jax.random.key(1), after=(3, 11))
    for state, row in zip(states[..., 0], (4, 12), strict=True):
        alpha, sigma = table.level.alpha[row], table.level.sigma[row]
        assert float(state.mean()) == pytest.approx(alpha * 1.5, abs=5 * sigma / 64)
        assert float(state.std()) == pytest.approx(sigma, rel=0.06)


def test_resampling_keeps_the_law() -> None:
    schedule = Discrete(betas.linear(200))
    table = DDPM().tableau(schedule, grid.trailing(200, 40))
    again = repaint(table, jump=8, repeats=3)
    assert again.rows == 3 * table.rows
    for one, other in zip(law(table, MEAN, COVARIANCE), law(again, MEAN, COVARIANCE), strict=True):
        np.testing.assert_allclose(one, other, atol=0.03)
    np.testing.assert_array_equal(repaint(table, 7, 1).evaluate, table.evaluate)


@pytest.mark.slow
def test_resampling_brings_the_new_part_closer_to_the_known() -> None:
    """Given the first number, the second has the mean m + C10 / C00 (x - m): plain replacement falls short of it."""
    table = DDPM().tableau(VP(), grid.uniform(40))
    known, mask = jnp.array([[1.5, 0.0]]), jnp.array([[1.0, 0.0]])
    truth = MEAN[1] + COVARIANCE[1, 0] / COVARIANCE[0, 0] * (1.5 - MEAN[0])
    x = start_from(table, jnp.broadcast_to(mask * known, (4096, 2)), jax.random.key(0))
    inpainted = Inpainted(denoiser(), known, mask)
    off = []
    for repeats in (1, 24):
        got = sample(inpainted, repaint(table, 4, repeats), x, jax.random.key(1))
        np.testing.assert_allclose(got[:, 0], 1.5, atol=1e-4)
        off.append(abs(float(got[:, 1].mean()) - truth))
    assert off[1] < off[0] / 2


@pytest.mark.parametrize("sampler", [Heun(), UniPC(2)], ids=repr)
def test_a_method_with_memory_cannot_go_back(sampler: Heun) -> None:
    with pytest.raises(ValueError, match="only a method without a base state or older predictions"):
        repaint(sampler.tableau(VP(), grid.uniform(10)))


def test_no_such_jump() -> None:
    with pytest.raises(ValueError, match="jump must be at least 1, got 0"):
        repaint(DDIM().tableau(VP(), grid.uniform(10)), 0, 2)


@pytest.mark.slow
def test_a_guidance_scale_for_every_row() -> None:
    """Against the walk whose denoiser has the scales by hand."""
    table = SOLVERS["dpm++ 2m"].tableau(VP(), grid.uniform(6))
    scales = np.array([1.0, 4.0, 2.0, 0.0, 3.0, 1.0])

    def conditional(x_t: Array, level: NoiseLevel[jax.Array], cond: Array | None) -> Float[Array, "b d"]:
        center = 0.0 if cond is None else expand(cond, x_t)
        return jnp.tanh(x_t) + center

    def by_hand(x_t: Array, level: NoiseLevel[jax.Array]) -> Float[Array, "b d"]:
        i = jnp.argmin(jnp.abs(jnp.asarray(table.level.t, jnp.float32) - level.t[0]))
        return jnp.tanh(x_t) + jnp.asarray(scales, jnp.float32)[i] * 0.5

    guidance: ClassifierFree[Array] = ClassifierFree(ValueByTime(table.level.t, scales))
    x = prior(table, (3, 2), jax.random.key(0))
    got = sample(guidance(conditional, jnp.full(3, 0.5)), table, x)
    np.testing.assert_allclose(got, sample(by_hand, table, x), atol=1e-5)


@pytest.mark.slow
def test_a_watch_sees_chosen_rows_in_order() -> None:
    table = SOLVERS["dpm++ 2m"].tableau(EDM(), grid.karras(EDM(), 6, 80.0, 0.002))
    calls: list[tuple[int, HostArray, HostArray]] = []

    def watch(row: Array, x: Array, x0: Array) -> None:
        calls.append((int(row), np.asarray(x, np.float64), np.asarray(x0, np.float64)))

    x, denoise = prior(table, (3, 2), jax.random.key(0)), Shrink(jnp.asarray(0.7))
    end = sample_with_callback(denoise, table, x, callback=watch, after=(0, 3, 5))
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert [row for row, _, _ in calls] == [0, 3, 5]
    _, states = sample_trajectory(denoise, table, x, after=(0, 3, 5))
    np.testing.assert_allclose(np.stack([x for _, x, _ in calls]), states, atol=1e-6)
    np.testing.assert_allclose(calls[-1][2], end, atol=1e-6)  # the last step goes to the x0 that was predicted
