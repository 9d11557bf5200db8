"""Classifier-free guidance, on Gaussians where both denoisers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.guidance import APG, ClassifierFree, Conditional, Guidance, Interval, apply_guidance
from artifex.schedules import NoiseLevel
from artifex.schedules.arrays import HostArray, T
from tests.guidance.exact import (
    ALPHA,
    HERE,
    LABELS,
    MEANS,
    SIGMA,
    SPREAD,
    Counted,
    X,
    call,
    denoise,
    numbers,
    on_device,
)

Y = jnp.asarray(LABELS)
MIDDLE = np.array([0.25, -0.1])
"""The center of all data, where they are one Gaussian."""
GAIN = ALPHA * SPREAD**2 / (ALPHA**2 * SPREAD**2 + SIGMA**2)


def one_gaussian(x_t: T, level: NoiseLevel[T], cond: T | None) -> T:
    """E[x0 | x_t] where a class is N(center, SPREAD^2), and so is no class (2)."""
    xp = numbers(x_t)
    center = xp.asarray([*MEANS, MIDDLE], x_t.dtype)[xp.full(x_t.shape[0], 2) if cond is None else cond]
    out: T = center + GAIN * (x_t - ALPHA * center)
    return out


def closed_form(w: float | HostArray) -> HostArray:
    """Guidance moves the center along the line between the classes, and the gain is that of either."""
    center = MIDDLE + np.reshape(w, (-1, 1)) * (MEANS[LABELS] - MIDDLE)
    return np.asarray(center + GAIN * (X - ALPHA * center))


@pytest.mark.parametrize("null", [None, jnp.array(2), jnp.full(4, 2)], ids=["two calls", "one batch", "one per sample"])
def test_moves_the_centre_along_the_line_between_the_classes(null: Array | None) -> None:
    for w in (0.0, 0.5, 1.0, 3.0, -1.0):
        np.testing.assert_allclose(call(ClassifierFree(w, null)(one_gaussian, Y)), closed_form(w), atol=1e-5)


def test_scale_may_be_one_a_sample_or_a_function_of_the_level() -> None:
    each = np.array([0.0, 1.0, 2.0, 3.0])
    batch_parallel = ClassifierFree(jnp.asarray(each, jnp.float32), jnp.array(2))
    np.testing.assert_allclose(call(batch_parallel(one_gaussian, Y)), closed_form(each), atol=1e-5)
    by_level = ClassifierFree(lambda level: 5 * level.alpha, jnp.array(2))
    np.testing.assert_allclose(call(by_level(one_gaussian, Y)), closed_form(4.0), atol=1e-5)


def test_null_runs_both_halves_in_one_call_and_a_scale_of_exactly_1_only_one() -> None:
    network = Counted()
    call(ClassifierFree(2.0, jnp.array(2))(network, Y))
    call(ClassifierFree(1.0, jnp.array(2))(network, Y))
    call(ClassifierFree[Array](1)(network, Y))
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert network.batches == [8, 4, 4]


@pytest.mark.slow
def test_all_settings_and_conditions_are_data_of_a_compiled_call() -> None:
    traces = []

    def counting(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        traces.append(1)
        return denoise(x_t, level, cond)

    for w, labels in ((0.5, Y), (3.0, Y), (3.0, 1 - Y)):
        call(ClassifierFree(w, jnp.array(2))(counting, labels))
    assert len(traces) == 1
    for w in (2.0, 4.0):
        call(ClassifierFree(APG(Interval(w, 0.1 * w, w), 0.1 * w, w), jnp.array(w < 3, int))(counting, Y))
    assert len(traces) == 3  # within the interval and outside


def test_conditional_binds_the_condition() -> None:
    np.testing.assert_allclose(call(Conditional[Array]()(denoise, Y)), denoise(X, HERE, LABELS), atol=1e-6)
    assert isinstance(Conditional[Array](), Guidance)
    assert isinstance(ClassifierFree[Array](2.0), Guidance)


def test_keeps_the_dtype_of_the_outputs() -> None:
    half = jnp.ones((2, 3), jnp.bfloat16)
    assert apply_guidance(half, half, jnp.float32(2.0)).dtype == jnp.bfloat16


@pytest.mark.usefixtures("unhooked")
def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 4\)"):
        apply_guidance(jnp.ones((2, 3)), jnp.ones((2, 4)), 1.0)

    def uneven(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        return x_t[:, :1] if cond is None else x_t

    with pytest.raises(ValueError, match=r"of one shape, got \(4, 2\) and \(4, 1\)"):
        call(ClassifierFree[Array](2.0)(uneven, Y))


@pytest.mark.usefixtures("unhooked")
def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="needs a condition to steer to: conditioning must be given, got None"):
        ClassifierFree[Array](2.0)(denoise, None)
    with pytest.raises(ValueError, match=r"must broadcast to shape \(4,\), got \(3,\)"):
        call(ClassifierFree(2.0, jnp.zeros(3, int))(denoise, Y))
    with pytest.raises(ValueError, match=r"must have the structure PyTreeDef\(\*\), got PyTreeDef\(\(\*, \*\)\)"):
        call(ClassifierFree[object](2.0, (1, 2))(denoise, Y))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one finite number, or one per sample, got inf"):
        ClassifierFree[Array](float("inf"))
    with pytest.raises(ValueError, match=r"got \[nan\] in shape \(2,\)"):
        ClassifierFree[Array](jnp.array([1.0, jnp.nan]))
    with pytest.raises(ValueError, match=r"of shape \(4,\), got \(3,\)"):
        call(ClassifierFree(jnp.ones(3), jnp.array(2))(denoise, Y))


def test_known_settings_are_looked_at_within_a_users_jit_too() -> None:
    low, high, wrong = jnp.asarray(0.2), jnp.asarray(1.5), jnp.asarray(-1.0)

    @jax.jit
    def run(x: Array) -> Array:
        guidance = ClassifierFree(APG(Interval(3.0, low, high), radius=high), jnp.array(2))
        return guidance(denoise, Y)(x, on_device())

    assert run(jnp.asarray(X, jnp.float32)).shape == X.shape
    with pytest.raises(ValueError, match=r"radius must be positive, got -1\.0"):
        jax.jit(lambda: APG(3.0, radius=wrong))()
