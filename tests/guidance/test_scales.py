"""Scales over the steps of a walk."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.guidance import ByStep, ClassifierFree, bind, cosine_guidance_schedule, linear_guidance_schedule
from artifex.samplers import DDIM
from artifex.schedules import VP, NoiseLevel, grid
from tests.guidance.exact import HERE, LABELS, X, call, denoise


@pytest.mark.slow
def test_runs_from_start_to_end() -> None:
    np.testing.assert_allclose(linear_guidance_schedule(jnp.arange(5), 5, 2.0, 6.0), [2, 3, 4, 5, 6])
    half = 0.5 * np.sqrt(0.5)
    ease = np.array([0, 0.5 - half, 0.5, 0.5 + half, 1])
    np.testing.assert_allclose(cosine_guidance_schedule(jnp.arange(5), 5, 2.0, 6.0), 2 + 4 * ease, atol=1e-6)
    for schedule in (linear_guidance_schedule, cosine_guidance_schedule):
        assert (schedule(0, 50), schedule(49, 50), schedule(0, 1, 3.0, 9.0)) == (1.0, 7.5, 3.0)
        traced = jax.jit(lambda s, f=schedule: f(s, 5))(jnp.arange(5))
        np.testing.assert_allclose(traced, [schedule(step, 5) for step in range(5)], rtol=1e-6)


@pytest.mark.parametrize("schedule", [linear_guidance_schedule, cosine_guidance_schedule])
def test_steps_outside_the_walk(schedule: Callable[[int, int], Array]) -> None:
    with pytest.raises(ValueError, match=r"step must be in \[0, 9\], got values from 10 to 10"):
        schedule(10, 10)
    with pytest.raises(ValueError, match="total_steps must be at least 1, got 0"):
        schedule(0, 0)


def test_a_scale_by_the_step_is_bound_to_the_walk() -> None:
    table = DDIM().tableau(VP(), grid.uniform(5))
    guidance = bind(ClassifierFree(ByStep(linear_guidance_schedule, 2.0, 6.0), jnp.array(2)), table)
    guided = guidance(denoise, jnp.asarray(LABELS))
    conditional, free = (denoise(X, HERE, cond) for cond in (LABELS, None))
    for t, w in zip(table.level.t, [2.0, 3.0, 4.0, 5.0, 6.0], strict=True):
        got = call(guided, NoiseLevel(np.full(4, t), HERE.alpha, HERE.sigma))
        np.testing.assert_allclose(got, free + w * (conditional - free), atol=1e-5)


def test_before_it_is_bound_it_says_so() -> None:
    guided = ClassifierFree[Array](ByStep(cosine_guidance_schedule))(denoise, jnp.asarray(LABELS))
    with pytest.raises(ValueError, match=r"must be bound to a table: call artifex\.guidance\.bind"):
        call(guided)
