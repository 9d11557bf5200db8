import jax.numpy as jnp
import numpy as np
import pytest

from artifex.training.ema import EMA


def decays(decay: float, n: int) -> np.ndarray:
    k = np.arange(1, n + 1)
    return np.minimum(decay, k / (k + 9))


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
def test_towards_a_constant_the_distance_shrinks_by_every_decay(decay: float) -> None:
    ema, average, goal = EMA(decay), jnp.full(3, 4.0), jnp.full(3, -1.0)
    for k in range(1, 61):
        average = ema.update(average, goal, k)
    assert np.allclose(average, -1 + 5 * np.prod(decays(decay, 60)), rtol=1e-5)


def test_each_parameter_weighs_what_the_sum_says() -> None:
    values = np.random.default_rng(0).normal(size=40)
    average = {"a": jnp.asarray(2.0)}
    for k, value in enumerate(values, start=1):
        average = EMA(0.8).update(average, {"a": jnp.asarray(value, jnp.float32)}, k)
    d = decays(0.8, 40)
    later = np.append(np.cumprod(d[::-1])[::-1][1:], 1.0)
    expected = 2.0 * np.prod(d) + np.sum((1 - d) * later * values)
    assert np.isclose(average["a"], expected, rtol=1e-5)


def test_the_average_keeps_its_dtype() -> None:
    out = EMA(0.9).update(jnp.zeros(2, jnp.bfloat16), jnp.ones(2, jnp.float32), 1)
    assert out.dtype == jnp.bfloat16
    assert np.allclose(out.astype(jnp.float32), 0.9, atol=4e-3)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_impossible_decays_are_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got"):
        EMA(decay)
