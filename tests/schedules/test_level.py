import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import VP, Discrete, NoiseLevel, Schedule, add_noise, betas, diffuse, expand


def test_logsnr() -> None:
    level = NoiseLevel(t=np.zeros(4), alpha=np.array([1.0, 1.0, 0.6, 0.0]), sigma=np.array([0.0, 2.0, 0.8, 1.0]))
    np.testing.assert_allclose(level.logsnr, [np.inf, np.log(1 / 4), np.log(9 / 16), -np.inf])


@pytest.mark.slow
def test_logsnr_has_finite_gradients_inside() -> None:
    def logsnr(alpha: jax.Array) -> jax.Array:
        return jnp.sum(NoiseLevel(t=alpha, alpha=alpha, sigma=jnp.asarray([0.8, 1.0])).logsnr)

    np.testing.assert_allclose(jax.grad(logsnr)(jnp.asarray([0.6, 0.0])), [2 / 0.6, 0], rtol=1e-6)


@pytest.mark.slow
def test_mix_and_add_noise() -> None:
    """Both parts of x_t, the noise standard normal, a sample's noise its own."""
    level = VP().at(jnp.asarray([0.1, 0.9]))
    x0 = jax.random.normal(jax.random.key(0), (2, 20000))
    keys = jax.random.split(jax.random.key(1), 2)
    x_t, eps = add_noise(x0, level, keys)
    want = np.asarray(expand(level.alpha, x0)) * np.asarray(x0) + np.asarray(expand(level.sigma, x0)) * np.asarray(eps)
    np.testing.assert_allclose(x_t, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(diffuse(x0, eps, level), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.mean(eps, axis=1), 0, atol=0.03)
    np.testing.assert_allclose(np.std(eps, axis=1), 1, atol=0.03)
    _, swapped = add_noise(x0, level, keys[::-1])
    np.testing.assert_array_equal(swapped, eps[::-1])


def test_expand() -> None:
    like = jnp.zeros((2, 3, 4))
    assert expand(jnp.zeros(2), like).shape == (2, 1, 1)
    assert expand(jnp.zeros(()), like).shape == ()


@pytest.mark.parametrize("schedule", [VP(), Discrete(betas.linear(10))])
def test_schedules_are_schedules(schedule: Schedule) -> None:
    assert isinstance(schedule, Schedule)
