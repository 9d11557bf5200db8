from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifex.schedules import Discrete, NoiseLevel, betas
from artifex.schedules.arrays import HostArray
from tests.schedules.test_betas import TABLES

CHAINS: Final = {
    "linear": Discrete(betas.linear(1000)),
    "scaled linear": Discrete(betas.scaled_linear(1000)),
    "cosine": Discrete(betas.cosine(1000)),
    "zero terminal": Discrete(betas.rescale_zero_terminal_snr(betas.linear(1000))),
    "tiny first beta": Discrete(np.array([1e-12, 1e-9, 0.1, 0.5])),
    "one step": Discrete(np.array([0.5])),
    "one last step": Discrete(np.array([1.0])),
}
each = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())


@each
def test_levels_at_the_steps_are_the_table(chain: Discrete) -> None:
    level = chain.at(np.arange(-1.0, chain.steps))
    abar = np.append(1, chain.alphas_cumprod)
    np.testing.assert_array_equal(level.alpha, np.sqrt(abar))
    np.testing.assert_allclose(level.sigma**2, 1 - abar, atol=1e-15)
    assert level.sigma[0] == 0


def test_sigma_of_a_tiny_beta_keeps_its_digits() -> None:
    """1 - (1 - 1e-12)(1 - 1e-9) is 1.001e-9 - 1e-21; logarithm, sum, exponential and root round by ten units."""
    chain = CHAINS["tiny first beta"]
    expected = [1e-12, 1.001e-9 - 1e-21]
    np.testing.assert_allclose(chain.at(np.array([0.0, 1.0])).sigma ** 2, expected, rtol=10 * 2.0**-53)


def test_published_range_of_sigma() -> None:
    sigma = np.exp(-CHAINS["scaled linear"].at(np.array([0.0, 999.0])).logsnr / 2)
    np.testing.assert_allclose(sigma, [0.02916715815, 14.61464123], rtol=1e-9)


def test_fractions_interpolate_the_logsnr() -> None:
    chain = CHAINS["linear"]
    low, middle, high = chain.at(np.array([500.0, 500.25, 501.0])).logsnr
    assert middle == pytest.approx(0.75 * low + 0.25 * high, rel=1e-12)
    level = chain.at(np.linspace(-1, 999, 777))
    np.testing.assert_allclose(level.alpha**2 + level.sigma**2, 1, rtol=1e-14)


@each
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_logsnr_falls(chain: Discrete, data: st.DataObject) -> None:
    times = st.floats(-1, chain.steps - 1)
    early, late = sorted(data.draw(st.tuples(times, times).filter(lambda x: abs(x[0] - x[1]) > 1e-6)))
    logsnr = chain.at(np.array([early, late])).logsnr
    assert logsnr[0] > logsnr[1]


@each
def test_inverse_logsnr_inverts(chain: Discrete) -> None:
    t = np.linspace(-1, chain.steps - 1, 501)
    np.testing.assert_allclose(chain.inverse_logsnr(chain.at(t).logsnr), t, atol=1e-9)
    steps = np.arange(-1.0, chain.steps)
    np.testing.assert_allclose(chain.inverse_logsnr(chain.at(steps).logsnr), steps, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CHAINS, *TABLES])
def test_float32_under_jit_agrees(name: str) -> None:
    """There to 2e-6, and back to 1e-6 of the range; measured: 2.4e-7 at most."""
    chain = CHAINS.get(name) or Discrete(TABLES[name](1000))
    t = np.linspace(-1, chain.steps - 1, 501).astype(np.float32)
    exact = chain.at(t.astype(np.float64))

    def there_and_back(t: jax.Array) -> tuple[NoiseLevel[jax.Array], jax.Array]:
        level = chain.at(t)
        return level, chain.inverse_logsnr(level.logsnr)

    single, back = jax.jit(there_and_back)(jnp.asarray(t))
    np.testing.assert_allclose(single.alpha, exact.alpha, atol=2e-6)
    np.testing.assert_allclose(single.sigma, exact.sigma, atol=2e-6)
    assert single.alpha.dtype == jnp.float32
    np.testing.assert_allclose(back, t, rtol=0, atol=1e-6 * (chain.steps + 1))


def test_where_the_logsnr_stands_still_float32_cannot_tell_times_apart() -> None:
    """No inverse can do better than the numbers that it is given: a step of 1e-9 is within one ulp."""
    chain = Discrete(np.array([0.1, 0.1, 1e-9, 1e-9, 0.1]))
    logsnr = chain.at(np.array([1.0, 2.0, 3.0])).logsnr
    assert logsnr[0] > logsnr[1] > logsnr[2]
    assert len(set(logsnr.astype(np.float32))) == 1
    np.testing.assert_allclose(chain.inverse_logsnr(logsnr), [1, 2, 3], atol=1e-6)


def posterior(chain: Discrete, i: int) -> tuple[float, float, float]:
    """Mean and variance of x_{i-1} given x_i and x_0, by conditioning the joint Gaussian."""
    abar = np.append(1, chain.alphas_cumprod)
    before, beta = abar[i], chain.betas[i]
    # given x_0: x_{i-1} = sqrt(before) x_0 + N(0, 1 - before), x_i = sqrt(1 - beta) x_{i-1} + N(0, beta)
    covariance = np.sqrt(1 - beta) * (1 - before)
    variance = (1 - beta) * (1 - before) + beta
    gain = covariance / variance
    return (
        np.sqrt(before) - gain * np.sqrt((1 - beta) * before),
        gain,
        (1 - before) - gain * covariance,
    )


@each
def test_posterior(chain: Discrete) -> None:
    got = np.stack([chain.posterior_mean_coef1, chain.posterior_mean_coef2, chain.posterior_variance], axis=1)
    want = np.array([posterior(chain, i) for i in range(chain.steps)])
    # conditioning cancels digits where a beta is tiny, the chain's own form does not: its first step is exact
    np.testing.assert_allclose(got[2:], want[2:], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(got[0], [1, 0, 0], rtol=1e-14)


def test_zero_terminal_snr_has_no_nan() -> None:
    chain = CHAINS["zero terminal"]
    level = chain.at(np.array([998.0, 998.5, 999.0]))
    assert (level.alpha[-1], level.sigma[-1], level.logsnr[-1]) == (0, 1, -np.inf)
    for table in (*(vars(level).values()), chain.posterior_variance, chain.posterior_mean_coef1):
        assert np.all(np.isfinite(table))
    assert np.all(np.isfinite(chain.posterior_mean_coef2))
    np.testing.assert_array_equal(chain.inverse_logsnr(np.array([-np.inf, np.inf])), [999, -1])


def test_equal_tables_are_equal_and_hash_alike() -> None:
    again = Discrete(betas.linear(1000))
    assert again == CHAINS["linear"]
    assert hash(again) == hash(CHAINS["linear"])
    assert again != CHAINS["cosine"]
    assert again != "linear"
    assert repr(again) == "Discrete(1000 betas, 0.0001 to 0.02)"


def test_the_table_is_a_copy_and_read_only() -> None:
    table = betas.linear(3)
    chain = Discrete(table)
    table[0] = 0.9
    assert chain.betas[0] == 1e-4
    with pytest.raises(ValueError, match="read-only"):
        chain.betas[0] = 0.5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((2, 2)), r"betas must be of shape \(n,\) with n at least 1, got \(2, 2\)"),
        (np.array([]), r"got \(0,\)"),
        (np.array([0.1, 1.1]), r"betas must lie in \(0, 1\), the last in \(0, 1\], got values from 0.1 to 1.1"),
        (np.array([1.0, 0.1]), "got values from 0.1 to 1.0"),
        (np.array([0.1, 0.0, 0.1]), "got values from 0.0 to 0.1"),
        (np.array([0.1, np.nan]), "got values from nan"),
    ],
)
def test_bad_tables(table: HostArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Discrete(table)


@pytest.mark.parametrize("t", [-1.5, 1000.0, np.nan])
def test_bad_times(t: float) -> None:
    with pytest.raises(ValueError, match=r"t must be in \[-1, 999\], got values from"):
        CHAINS["linear"].at(np.array([t]))
    with pytest.raises(ValueError, match=r"t must be in \[-1, 999\]"):
        CHAINS["linear"].at(jnp.asarray([t]))
