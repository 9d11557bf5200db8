import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import EDMPreconditioned, NoiseLevel, ScaledTime, V

AT = NoiseLevel(t=jnp.array([0.25, 0.5]), alpha=jnp.array([0.8, 0.6]), sigma=jnp.array([0.6, 0.8]))
X0, EPS = jnp.array([[1.0, -2.0], [0.5, 3.0]]), jnp.array([[0.3, 0.1], [-1.0, 2.0]])


@pytest.mark.parametrize("inside", [V(), EDMPreconditioned(0.5)])
def test_only_the_time_is_scaled(inside: V | EDMPreconditioned) -> None:
    scaled = ScaledTime(inside, 1000.0)
    (x, t), (own_x, own_t) = scaled.inputs(X0, AT), inside.inputs(X0, AT)
    np.testing.assert_array_equal(x, own_x)
    np.testing.assert_allclose(t, 1000 * own_t, rtol=1e-6)
    np.testing.assert_array_equal(scaled.target(X0, EPS, AT), inside.target(X0, EPS, AT))
    np.testing.assert_array_equal(scaled.to_x0(EPS, X0, AT), inside.to_x0(EPS, X0, AT))
    np.testing.assert_array_equal(scaled.to_eps(EPS, X0, AT), inside.to_eps(EPS, X0, AT))


def test_equal_settings_are_equal_values() -> None:
    assert ScaledTime(V(), 2.0) == ScaledTime(V(), 2.0)
    assert len({ScaledTime(V(), 2.0), ScaledTime(V(), 2.0), ScaledTime(V(), 3.0)}) == 2
