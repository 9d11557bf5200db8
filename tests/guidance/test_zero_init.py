"""Steps at the start that do nothing, and thresholds behind any guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.guidance import CFGZeroStar, ClassifierFree, FirstSteps, Thresholded, ZeroInit, bind
from artifex.samplers import Euler, sample
from artifex.schedules import RectifiedFlow
from tests.guidance.exact import ALPHA, HERE, LABELS, SIGMA, Counted, X, call, denoise, with_variance

pytestmark = pytest.mark.slow

Y = jnp.asarray(LABELS)
TIMES = np.array([1.0, 0.8, 0.5, 0.3, 0.0])


def test_first_steps_stand_still_and_call_nothing() -> None:
    network, x = Counted(), jnp.asarray(X, jnp.float32)
    inside: ClassifierFree[Array] = ClassifierFree(CFGZeroStar(3.0), jnp.array(2))
    table = Euler().tableau(RectifiedFlow(), TIMES)
    got = sample(bind(ZeroInit(inside, FirstSteps(2)), table)(network, Y), table, x)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert network.batches == [8, 8]
    later = Euler().tableau(RectifiedFlow(), TIMES[2:])
    np.testing.assert_allclose(got, sample(inside(denoise, Y), later, x), atol=1e-5)


def test_a_variance_beside_x0_is_still_there() -> None:
    first = np.array([1.0, 0.0, 1.0, 0.0])
    got = call(ZeroInit[Array](first=jnp.asarray(first))(with_variance, Y))
    rest = np.concatenate([X / (ALPHA + SIGMA), np.zeros_like(X)], axis=-1)
    np.testing.assert_allclose(got, np.where(first[:, None] > 0, rest, with_variance(X, HERE, LABELS)), atol=1e-6)


def test_thresholded_is_guided_first_and_then_held_in_range() -> None:
    inside: ClassifierFree[Array] = ClassifierFree(6.0, jnp.array(2))
    conditional, free = (denoise(X, HERE, cond) for cond in (LABELS, None))
    x0 = free + 6 * (conditional - free)
    assert np.max(np.abs(x0)) > 2
    reach = np.maximum(np.quantile(np.abs(x0), 0.9, axis=1, keepdims=True), 1)
    got = call(Thresholded(inside, 0.9)(denoise, Y))
    np.testing.assert_allclose(got, np.clip(x0, -reach, reach) / reach, atol=1e-5)


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="count must be at least 0, got -1"):
        FirstSteps(-1)
    with pytest.raises(ValueError, match="must be bound to a table"):
        call(ZeroInit[Array]()(denoise, Y))
