"""Guidance in an interval of noise levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.guidance import ByStep, Classifier, ClassifierFree, Interval, bind, linear_guidance_schedule
from artifex.samplers import DDIM, sample
from artifex.schedules import EDM, NoiseLevel, grid
from tests.guidance.exact import HERE, LABELS, Counted, X, call, classify, denoise

Y = jnp.asarray(LABELS)


def test_inside_there_is_guidance_and_outside_none() -> None:
    level = NoiseLevel(np.zeros(4), np.array([1.0, 1.0, 0.5, 0.0]), np.array([0.2, 0.2001, 0.8, 1.0]))
    conditional, free = (denoise(X, level, cond) for cond in (LABELS, None))
    inside = np.array([False, True, True, False])
    want = np.where(inside[:, None], free + 3 * (conditional - free), conditional)
    got = call(ClassifierFree(Interval(3.0, 0.2, 1.6), jnp.array(2))(denoise, Y), level)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.slow
def test_steps_outside_call_the_network_once() -> None:
    network = Counted()
    schedule = EDM()
    table = DDIM().tableau(schedule, grid.karras(schedule, 8, 80.0, 0.002))
    guided = ClassifierFree(Interval(3.0, 0.3, 5.0), jnp.array(2))(network, Y)
    sample(guided, table, 80 * jnp.asarray(X, jnp.float32)).block_until_ready()
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    inside = (table.level.sigma > 0.3) & (table.level.sigma <= 5.0)
    assert 0 < np.sum(inside) < 8
    assert network.batches == list(np.where(inside, 8, 4))


def test_the_scale_inside_may_be_any() -> None:
    table = DDIM().tableau(EDM(), np.array([4.0, 2.0, 1.0, 0.0]))
    scale = bind(Interval(ByStep(linear_guidance_schedule, 2.0, 6.0), 1.5, 3.0), table)
    levels = NoiseLevel(jnp.asarray(table.level.t), jnp.ones(3), jnp.array([4.0, 2.0, 1.0]))
    np.testing.assert_allclose(scale(levels), [1.0, 4.0, 1.0])


def test_for_a_gradient_there_is_0_outside() -> None:
    got = call(Classifier(classify, Interval(2.0, 1.0, 2.0, outside=0.0))(denoise, Y))
    np.testing.assert_allclose(got, denoise(X, HERE, None), atol=1e-6)
    with pytest.raises(ValueError, match=r"outside must be 0\.0, got 1\.0"):
        Classifier(classify, Interval(2.0))


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_intervals_rise(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=f"must rise from at least 0, got low {low} and high {high}"):
        Interval(2.0, low, high)
