from collections.abc import Callable
from functools import cache
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from artifex.schedules import LossSecondMoment, TimeSampler
from artifex.schedules.arrays import HostArray
from artifex.schedules.time_samplers import HALF_ULP, DiscreteUniform, LogitNormal, LogNormal, LowDiscrepancy, Uniform

pytestmark = pytest.mark.slow

KEY: Final = jax.random.key(0)
N: Final = 4096
SAMPLERS: Final[dict[str, tuple[TimeSampler, Callable[[HostArray], HostArray]]]] = {
    "Uniform": (Uniform(0.2, 3.0), stats.uniform(0.2, 2.8).cdf),
    "LogitNormal": (LogitNormal(0.5, 1.3), lambda t: stats.norm(0.5, 1.3).cdf(np.log(t) - np.log1p(-t))),
    "LogNormal": (LogNormal(), lambda t: stats.norm(-1.2, 1.2).cdf(np.log(t))),
    "LowDiscrepancy": (LowDiscrepancy(LogNormal()), lambda t: stats.norm(-1.2, 1.2).cdf(np.log(t))),
}
each = pytest.mark.parametrize(("sampler", "cdf"), SAMPLERS.values(), ids=SAMPLERS.keys())


@each
def test_distribution(sampler: TimeSampler, cdf: Callable[[HostArray], HostArray]) -> None:
    t = sampler(KEY, N)
    assert t.shape == (N,)
    assert t.dtype == jnp.float32
    assert stats.kstest(np.asarray(t, np.float64), cdf).pvalue > 0.01
    assert isinstance(sampler, TimeSampler)


@each
def test_a_key_decides(sampler: TimeSampler, cdf: Callable[[HostArray], HostArray]) -> None:
    again = jax.jit(sampler, static_argnums=1)
    np.testing.assert_allclose(sampler(KEY, N), again(KEY, N), rtol=1e-6)
    assert not np.array_equal(again(KEY, N), again(jax.random.key(1), N))


@each
def test_quantiles_at_the_ends_are_finite(sampler: TimeSampler, cdf: Callable[[HostArray], HostArray]) -> None:
    inner = sampler.times if isinstance(sampler, LowDiscrepancy) else sampler
    assert isinstance(inner, Uniform | LogNormal | LogitNormal)
    ends = np.asarray(inner.quantile(jnp.linspace(HALF_ULP, 1 - HALF_ULP, N)))
    assert np.all(np.isfinite(ends))
    assert np.all(ends > 0)


def test_no_draw_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX draws from [0, 1), and 0 is a number that it gives."""
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.zeros(shape))
    for sampler in (LogNormal(), LogitNormal(), LowDiscrepancy(LogNormal())):
        assert np.all(np.asarray(sampler(KEY, 4)) > 0)


@pytest.mark.parametrize("n", [1, 3, 1000])
def test_steps(n: int) -> None:
    t = np.asarray(DiscreteUniform(n)(KEY, N))
    np.testing.assert_array_equal(t, np.floor(t))
    assert t.min() >= 0
    assert t.max() <= n - 1
    if n == 3:
        assert stats.chisquare(np.bincount(t.astype(int), minlength=3)).pvalue > 0.01
    np.testing.assert_array_equal(DiscreteUniform(n).quantile(jnp.asarray([HALF_ULP, 1 - HALF_ULP])), [0, n - 1])


def test_low_discrepancy_fills_every_range_once() -> None:
    t = np.asarray(LowDiscrepancy(Uniform())(KEY, 64))
    np.testing.assert_array_equal(np.sort(np.floor(t * 64 - t.min() * 64 + 1e-3)), np.arange(64))
    steps = np.asarray(LowDiscrepancy(DiscreteUniform(64))(KEY, 128)).astype(int)
    assert np.all(np.bincount(steps, minlength=64) >= 1)
    assert np.all(np.bincount(steps, minlength=64) <= 3)


@cache
def updater() -> Callable[[LossSecondMoment, jax.Array, jax.Array], LossSecondMoment]:
    return jax.jit(LossSecondMoment.update)


def trained(n: int, rounds: int, losses: jax.Array) -> LossSecondMoment:
    state = LossSecondMoment.init(n, history=4, uniform_prob=0.01)
    for _ in range(rounds):
        state = updater()(state, jnp.arange(n, dtype=jnp.float32), losses)
    return state


def test_importance_starts_uniform() -> None:
    losses = jnp.asarray([1.0, 2.0, 3.0, 6.0])
    for rounds in (0, 3):
        np.testing.assert_allclose(trained(4, rounds, losses).probabilities, 0.25, rtol=1e-6)


def test_importance_follows_the_second_moment() -> None:
    losses = jnp.asarray([1.0, 2.0, 3.0, 6.0])
    p = 0.99 * losses / 12 + 0.01 / 4
    state = trained(4, 4, losses)
    np.testing.assert_allclose(state.probabilities, p, rtol=1e-6)
    t = np.asarray(state(KEY, N)).astype(int)
    assert stats.chisquare(np.bincount(t, minlength=4), N * np.asarray(p / p.sum(), np.float64)).pvalue > 0.01
    np.testing.assert_allclose(state.weight(jnp.arange(4.0)), 1 / (4 * p), rtol=1e-6)
    # weights keep the mean of any loss what it is under uniform times
    np.testing.assert_allclose(jnp.sum(p * state.weight(jnp.arange(4.0)) * losses), 3, rtol=1e-5)


def test_importance_keeps_the_last_losses() -> None:
    state = LossSecondMoment.init(2, history=2, uniform_prob=0.0)
    state = state.update(jnp.asarray([0.0, 0.0, 0.0, 1.0, 1.0]), jnp.asarray([5.0, 3.0, 4.0, 1.0, 1.0]))
    np.testing.assert_array_equal(state.counts, [3, 2])
    np.testing.assert_array_equal(jnp.sort(state.losses), [[3, 4], [1, 1]])
    root = np.sqrt(12.5)
    np.testing.assert_allclose(state.probabilities, [root / (root + 1), 1 / (root + 1)], rtol=1e-6)


def test_importance_is_a_value() -> None:
    state = LossSecondMoment.init(4, history=1)
    after = jax.jit(lambda s, t, loss: s.update(t, loss))(state, jnp.arange(4.0), jnp.ones(4))
    assert jnp.sum(state.counts) == 0
    assert jnp.sum(after.counts) == 4
    assert jax.jit(lambda s, k: s(k, 8))(after, KEY).shape == (8,)
    assert isinstance(state, TimeSampler)
    assert LowDiscrepancy(after)(KEY, 4).shape == (4,)


def test_importance_of_no_loss_is_uniform() -> None:
    np.testing.assert_allclose(trained(4, 4, jnp.zeros(4)).probabilities, 0.25)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1.0, 1.0), r"low must be below high, got 1\.0 and 1\.0"),
        (lambda: DiscreteUniform(0), "n must be at least 1, got 0"),
        (lambda: LogitNormal(0.0, 0.0), r"std must be positive and finite, got 0\.0"),
        (lambda: LogNormal(0.0, -1.0), r"std must be positive and finite, got -1\.0"),
        (lambda: LossSecondMoment.init(0), "n must be at least 1, got 0"),
        (lambda: LossSecondMoment.init(5, 0), "history must be at least 1, got 0"),
        (lambda: LossSecondMoment.init(5, uniform_prob=2.0), r"uniform_prob must be in \[0, 1\], got 2\.0"),
    ],
)
def test_bad_settings(make: Callable[[], TimeSampler], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
