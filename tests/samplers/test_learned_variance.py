"""DDPM with a learned variance, against the papers' formulas on the chain's betas."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from artifex.guidance import ClassifierFree
from artifex.kernels import sample_keys
from artifex.samplers import (
    DDPM,
    DPMSolverPPMultistep,
    Inpainted,
    predictor_corrector,
    prior,
    repaint,
    sample,
    with_corrector,
)
from artifex.schedules import Clipped, Discrete, Epsilon, NetworkDenoiser, NoiseLevel, betas, grid
from artifex.schedules.arrays import HostArray, record
from tests.samplers.test_law import COVARIANCE, MEAN, Gaussian, denoiser, law

pytestmark = pytest.mark.slow

STEPS: Final = 12
BETAS: Final = betas.linear(STEPS, 1e-2, 0.5)
CHAIN: Final = Discrete(BETAS)
TIMES: Final = grid.all_steps(STEPS)
LEARNED: Final = DDPM("learned_range").tableau(CHAIN, TIMES)

ABAR: Final = np.cumprod(1 - BETAS)
BEFORE: Final = np.append(1.0, ABAR[:-1])
SMALL: Final = BETAS * (1 - BEFORE) / (1 - ABAR)


@record
class WithV:
    """A denoiser, and one v for all."""

    denoiser: Gaussian
    v: Array

    def __call__(self, x_t: Float[Array, "b d"], level: NoiseLevel[jax.Array]) -> Float[Array, "b e"]:
        return jnp.concatenate([self.denoiser(x_t, level), jnp.broadcast_to(self.v, x_t.shape)], axis=-1)


def variance(v: HostArray | float, i: int) -> HostArray:
    """Nichol and Dhariwal's equation 15; no noise is added at the end of the chain."""
    if i == 0:
        return np.zeros(())
    share = (np.asarray(v) + 1) / 2
    return np.asarray(np.exp(share * np.log(BETAS[i]) + (1 - share) * np.log(SMALL[i])))


@pytest.mark.parametrize("v", [-1.0, 0.3, 1.0])
def test_the_law_under_a_constant_v(v: float) -> None:
    """Mean and covariance by the recursion of the chain itself, and of the table with that noise in it."""
    mean, covariance = MEAN * np.sqrt(ABAR[-1]), ABAR[-1] * COVARIANCE + (1 - ABAR[-1]) * np.eye(2)
    for i in reversed(range(STEPS)):
        gain = np.sqrt(ABAR[i]) * COVARIANCE @ np.linalg.inv(ABAR[i] * COVARIANCE + (1 - ABAR[i]) * np.eye(2))
        clean, keep = BETAS[i] * np.sqrt(BEFORE[i]), np.sqrt(1 - BETAS[i]) * (1 - BEFORE[i])
        move = (clean * gain + keep * np.eye(2)) / (1 - ABAR[i])
        shift = clean * (np.eye(2) - np.sqrt(ABAR[i]) * gain) @ MEAN / (1 - ABAR[i])
        mean, covariance = move @ mean + shift, move @ covariance @ move.T + variance(v, i) * np.eye(2)

    names = {-1.0: DDPM("fixed_small"), 1.0: DDPM("fixed_large")}
    if v in names:
        for one, other in zip(law(names[v].tableau(CHAIN, TIMES), MEAN, COVARIANCE), (mean, covariance), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)

    batch = 4096
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal(MEAN, COVARIANCE, batch) * np.sqrt(ABAR[-1])
    x += np.sqrt(1 - ABAR[-1]) * rng.standard_normal(x.shape)
    denoise = WithV(denoiser(), jnp.asarray(v))
    got = np.asarray(sample(denoise, LEARNED, jnp.asarray(x, jnp.float32), jax.random.key(1)), np.float64)
    deviation = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(got.mean(axis=0) - mean) < 5 * deviation / np.sqrt(batch))
    assert np.all(np.abs(np.cov(got.T) - covariance) < 5 * np.sqrt(2 / batch) * np.outer(deviation, deviation))


def both(x_t: Float[Array, "b d"], level: NoiseLevel[jax.Array]) -> Float[Array, "b e"]:
    """A denoiser with a v for each number of the sample."""
    return jnp.concatenate([jnp.tanh(x_t), jnp.sin(3 * x_t)], axis=-1)


def clean(x_t: Float[Array, "b d"], level: NoiseLevel[jax.Array]) -> Float[Array, "b d"]:
    return jnp.tanh(x_t)


def test_every_number_has_its_own_variance() -> None:
    key, x = jax.random.key(3), prior(LEARNED, (3, 4), jax.random.key(0))
    want, keys = np.asarray(x, np.float64), sample_keys(key, 3)
    draw = jax.jit(jax.vmap(lambda k, i: jax.random.normal(jax.random.fold_in(k, i), (4,)), in_axes=(0, None)))
    for row, i in enumerate(reversed(range(STEPS))):
        z = np.asarray(draw(keys, row), np.float64)
        clean, keep = BETAS[i] * np.sqrt(BEFORE[i]), np.sqrt(1 - BETAS[i]) * (1 - BEFORE[i])
        mean = (clean * np.tanh(want) + keep * want) / (1 - ABAR[i])
        want = mean + np.sqrt(variance(np.sin(3 * want), i)) * z
    np.testing.assert_allclose(sample(both, LEARNED, x, key), want, atol=1e-5)


def test_a_sample_does_not_know_its_batch() -> None:
    keys, x = jax.random.split(jax.random.key(5), 8), prior(LEARNED, (8, 4), jax.random.key(0))
    whole = sample(both, LEARNED, x, keys)
    for size in (1, 4):
        np.testing.assert_allclose(sample(both, LEARNED, x[:size], keys[:size]), whole[:size], atol=1e-6)


def test_a_respaced_chain_and_one_without_signal() -> None:
    """The two ends of the range are the small and the large variance of the sub-sequence, and the last row has none."""
    for chain in (Discrete(betas.linear(1000)), Discrete(betas.rescale_zero_terminal_snr(betas.linear(1000)))):
        times = grid.trailing(1000, 25)
        table, small, large = (DDPM(v).tableau(chain, times) for v in ("learned_range", "fixed_small", "fixed_large"))
        np.testing.assert_allclose(table.noise, small.noise, rtol=1e-14)
        np.testing.assert_allclose(table.noise * np.exp(table.stretch), large.noise, rtol=1e-12)
        assert table.noise[-1] == 0
        assert not small.uses.stretch


def test_other_methods_look_at_the_data_alone() -> None:
    table, key = DPMSolverPPMultistep(2, eta=1.0).tableau(CHAIN, TIMES), jax.random.key(1)
    x = prior(table, (3, 4), jax.random.key(0))
    np.testing.assert_array_equal(sample(both, table, x, key), sample(clean, table, x, key))
    plain = DDPM().tableau(CHAIN, TIMES)
    want = predictor_corrector(clean, plain, x, key)
    np.testing.assert_allclose(predictor_corrector(both, plain, x, key), want, atol=1e-6)


def test_from_a_network_through_guidance_and_clip() -> None:
    """Guidance acts on all channels, clipping and what is known on the data alone."""
    level = CHAIN.at(jnp.asarray([5.0]))
    x, cond = jnp.asarray([[0.4, -0.8]]), jnp.asarray([2.0])

    def network(p: None, x: Array, t: Array, cond: Array | None) -> Float[Array, "b e"]:
        c = jnp.zeros(1) if cond is None else cond
        return jnp.concatenate([x * c[:, None], 0.1 * x - c[:, None]], axis=-1)

    denoise: NetworkDenoiser[None, Array] = NetworkDenoiser(network, Epsilon(), None, variance=True)
    guidance: ClassifierFree[Array] = ClassifierFree(3.0, null=jnp.asarray(0.0))
    inpainted = Inpainted(Clipped(guidance(denoise, cond), 0.5), jnp.asarray([[0.2, 0.0]]), jnp.asarray([[1.0, 0.0]]))
    got = inpainted(x, level)
    alpha, sigma = np.sqrt(ABAR[5]), np.sqrt(1 - ABAR[5])
    x0 = np.clip((-0.8 - sigma * 3 * 2 * -0.8) / alpha, -0.5, 0.5)
    np.testing.assert_allclose(got, [[0.2, x0, 0.04 - 6, -0.08 - 6]], rtol=1e-5)


def test_who_cannot_walk_it() -> None:
    x, key = jnp.ones((3, 4)), jax.random.key(0)
    with pytest.raises(ValueError, match=r"the denoiser must return \[x0, v\], twice the channels of x, got x0"):
        sample(clean, LEARNED, x, key)
    with pytest.raises(ValueError, match=r"x0 of shape \(3, 4\), or \[x0, v\] of shape \(3, 8\), got \(3, 3\)"):
        sample(lambda x_t, level: x_t[:, :3], LEARNED, x, key)
    with pytest.raises(ValueError, match="only a method without a learned variance can go back"):
        repaint(LEARNED)
    with pytest.raises(ValueError, match="only a method without a learned variance can be corrected"):
        with_corrector(LEARNED)
    network: NetworkDenoiser[None, None] = NetworkDenoiser(lambda p, x, t, c: x, Epsilon(), None, variance=True)
    with pytest.raises(ValueError, match=r"must give twice its input's channels, \(3, 8\), got \(3, 4\)"):
        sample(network, LEARNED, x, key)


def test_a_step_to_clean_data_draws_no_noise_and_needs_no_key() -> None:
    x, ends = jnp.ones((2, 2)), TIMES[-2:]
    out = sample(WithV(denoiser(), jnp.float32(0.3)), DDPM("learned_range").tableau(CHAIN, ends), x)
    clean = denoiser()(x, jax.tree.map(lambda v: jnp.full(2, v, jnp.float32), CHAIN.at(ends[:1])))
    np.testing.assert_allclose(out, clean, rtol=1e-6)
