"""Generation in one call, against its parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.samplers import DDIM, DDPM, Sampler, generate, prior, sample
from artifex.schedules import VP, Clipped, Discrete, NetworkDenoiser, NoiseLevel, V, betas

SHAPE = (4, 3)


def network(parameters: Array, x_t: Array, t: Array, cond: None) -> Array:
    return parameters * x_t


PLAIN = NetworkDenoiser(network, V(), jnp.asarray(-0.3))
DENOISER = Clipped(PLAIN)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [DDIM(), DDPM()], ids=repr)
@pytest.mark.parametrize("raw", [False, True])
def test_it_is_the_tableau_its_prior_and_a_walk(sampler: Sampler, raw: bool) -> None:
    make = jax.random.PRNGKey if raw else jax.random.key
    start, noise = jax.random.split(make(3))
    tableau = sampler.tableau(VP(), VP().times(6))
    want = sample(DENOISER, tableau, prior(tableau, SHAPE, start), noise)
    np.testing.assert_array_equal(generate(DENOISER, sampler, VP(), VP().times(6), SHAPE, make(3)), want)


def test_clip_bounds_every_prediction() -> None:
    arguments = (DDIM(), VP(), VP().times(6), SHAPE, jax.random.key(0))
    plain = generate(PLAIN, *arguments)
    assert float(jnp.abs(plain).max()) > 0.1
    want = generate(Clipped(PLAIN, 0.1), *arguments)
    np.testing.assert_array_equal(generate(PLAIN, *arguments, clip=0.1), want)
    assert float(jnp.abs(want).max()) <= np.float32(0.1)  # the grid ends on the last prediction
    with pytest.raises(ValueError, match=r"^limit must be positive"):
        generate(PLAIN, *arguments, clip=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True])
def test_a_sample_with_its_own_key_does_not_depend_on_its_batch(raw: bool) -> None:
    keys = jax.random.split((jax.random.PRNGKey if raw else jax.random.key)(1), 4)
    whole = generate(DENOISER, DDPM(), VP(), VP().times(5), SHAPE, keys)
    half = generate(DENOISER, DDPM(), VP(), VP().times(5), (2, 3), keys[2:])
    np.testing.assert_allclose(whole[2:], half, rtol=1e-6, atol=1e-6)


def test_a_short_chain_begins_where_it_ends() -> None:
    """A chain's own first level may hold less noise than ``prior`` accepts."""
    chain = Discrete(betas.linear(10))
    assert generate(DENOISER, DDIM(), chain, chain.times(5), SHAPE, jax.random.key(0)).shape == SHAPE
    with pytest.raises(ValueError, match="sampling from the prior must begin in noise"):
        generate(DENOISER, DDIM(), VP(), np.array([0.2, 0.1, 0.0]), SHAPE, jax.random.key(0))


def test_the_dtype_is_that_of_the_samples() -> None:
    def denoise(x_t: Array, level: NoiseLevel[Array]) -> Array:
        return 0.5 * x_t

    x = generate(denoise, DDIM(), VP(), VP().times(3), SHAPE, jax.random.key(0), jnp.dtype(jnp.bfloat16))
    assert x.dtype == jnp.bfloat16
