"""The bound of a step against the divergence of two Gaussians, written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import Discrete, betas, vlb_term

pytestmark = pytest.mark.slow

SCHEDULE = Discrete(betas.linear(1000))
T = np.array([1, 20, 500, 999])
V = np.array([-1.0, -0.5, 0.3, 1.0])
X0, ESTIMATE = np.array([0.5, -0.2, 0.9, 0.1]), np.array([0.49, -0.1, 0.4, -0.3])


def bound(x0: jax.Array, estimate: jax.Array, v: jax.Array, t: jax.Array) -> jax.Array:
    level, before = (SCHEDULE.at(jnp.asarray(time, jnp.float32)) for time in (t, t - 1))
    return vlb_term(x0[:, None], estimate[:, None], v[:, None], level, before)[:, 0]


def test_it_is_the_divergence_of_the_posterior_from_the_step() -> None:
    beta = np.linspace(1e-4, 0.02, 1000)
    abar = np.append(1.0, np.cumprod(1 - beta))  # abar[t + 1] is that of t
    small = beta[T] * (1 - abar[T]) / (1 - abar[T + 1])
    learned = np.exp((1 + V) / 2 * np.log(beta[T]) + (1 - V) / 2 * np.log(small))
    apart = np.sqrt(abar[T]) * beta[T] / (1 - abar[T + 1]) * (X0 - ESTIMATE)
    expected = 0.5 * (np.log(learned / small) - 1 + (small + apart**2) / learned)
    found = bound(*(jnp.asarray(a, jnp.float32) for a in (X0, ESTIMATE, V, T)))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)


def test_it_teaches_the_variance_alone_and_nothing_at_clean_data() -> None:
    args = [jnp.asarray(a, jnp.float32) for a in (X0, ESTIMATE, V, np.array([0, 20, 500, 999]))]
    assert float(bound(*args)[0]) == 0
    of_estimate, of_v = jax.grad(lambda e, v: bound(args[0], e, v, args[3]).sum(), argnums=(0, 1))(args[1], args[2])
    np.testing.assert_array_equal(of_estimate, 0)
    assert of_v[0] == 0
    assert np.all(np.isfinite(of_v))
    assert np.all(np.asarray(of_v[1:]) != 0)
