"""Classifier-free guidance, on Gaussians where both denoisers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.guidance import ClassifierFree, Conditional, Guidance, apply_guidance
from artifex.schedules import Host, NoiseLevel, expand

CENTRES = jnp.array([-1.0, 2.0, 0.25])
"""Of class 0, of class 1, and of no class."""
SPREAD = 0.5
X = jax.random.normal(jax.random.key(0), (4, 3, 2))
LABELS = jnp.array([0, 1, 1, 0])
LEVEL = NoiseLevel(*(jnp.full(4, v) for v in (7.0, 0.8, 0.6)))


def denoise(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
    """E[x0 | x_t] where x0 of a class is N(centre, SPREAD^2)."""
    labels = jnp.full(x_t.shape[0], 2) if cond is None else cond
    centre = expand(CENTRES[labels], x_t)
    alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
    gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    return centre + gain * (x_t - alpha * centre)


def closed_form(
    w: float | np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The guided x0 in float64: guidance moves the centre, and the gain is that of either class."""
    x = np.asarray(X, np.float64)
    centres = np.array([-1.0, 2.0, 0.25])
    centre = centres[2] + w * (centres[np.asarray(LABELS)] - centres[2])
    centre = np.reshape(centre, (4, 1, 1))
    gain = 0.8 * 0.25 / (0.64 * 0.25 + 0.36)
    out: Host = centre + gain * (x - 0.8 * centre)
    return out


@pytest.mark.parametrize("null", [None, jnp.array(2)], ids=["two calls", "one batch"])
@pytest.mark.parametrize("w", [0.0, 0.5, 1.0, 3.0, -1.0])
def test_moves_the_centre_along_the_line_between_the_classes(w: float, null: Array | None) -> None:
    guided = ClassifierFree(w, null)(denoise, LABELS)
    np.testing.assert_allclose(guided(X, LEVEL), closed_form(w), atol=1e-6)


def test_scale_may_be_one_a_sample_or_a_function_of_the_level() -> None:
    each = np.array([0.0, 1.0, 2.0, 3.0])
    by_sample = ClassifierFree(jnp.asarray(each, jnp.float32), jnp.array(2))(denoise, LABELS)
    np.testing.assert_allclose(by_sample(X, LEVEL), closed_form(each), atol=1e-6)
    by_level = ClassifierFree(lambda level: 5 * level.alpha, jnp.array(2))(denoise, LABELS)
    np.testing.assert_allclose(by_level(X, LEVEL), closed_form(4.0), atol=1e-5)


def test_null_runs_both_halves_in_one_call() -> None:
    batches = []

    def counting(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        batches.append(x_t.shape[0])
        return denoise(x_t, level, cond)

    ClassifierFree(2.0, jnp.array(2))(counting, LABELS)(X, LEVEL)
    assert batches == [8]


def test_scale_of_exactly_1_costs_one_evaluation() -> None:
    batches = []

    def counting(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        batches.append((x_t.shape[0], cond is None))
        return denoise(x_t, level, cond)

    for null in (None, jnp.array(2)):
        ClassifierFree(1.0, null)(counting, LABELS)(X, LEVEL)
    assert batches == [(4, False)] * 2


def test_scale_and_condition_are_data_of_a_compiled_call() -> None:
    traces = []

    @jax.jit
    def run(guided: object) -> Array:
        traces.append(1)
        assert callable(guided)
        out: Array = guided(X, LEVEL)
        return out

    for w, labels in ((0.5, LABELS), (3.0, LABELS), (3.0, 1 - LABELS)):
        run(ClassifierFree(w, jnp.array(2))(denoise, labels))
    assert len(traces) == 1


def test_conditional_binds_the_condition() -> None:
    np.testing.assert_array_equal(Conditional[Array]()(denoise, LABELS)(X, LEVEL), denoise(X, LEVEL, LABELS))
    assert isinstance(Conditional[Array](), Guidance)


def test_keeps_the_dtype_of_the_outputs() -> None:
    half = jnp.ones((2, 3), jnp.bfloat16)
    assert apply_guidance(half, half, jnp.float32(2.0)).dtype == jnp.bfloat16


@pytest.mark.usefixtures("unhooked")
def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 4\)"):
        apply_guidance(jnp.ones((2, 3)), jnp.ones((2, 4)), 1.0)

    def uneven(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        return x_t[:, :1] if cond is None else x_t

    with pytest.raises(ValueError, match=r"of one shape, got \(4, 3, 2\) and \(4, 1, 2\)"):
        ClassifierFree[Array](2.0)(uneven, LABELS)(X, LEVEL)


@pytest.mark.usefixtures("unhooked")
def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="needs a condition to steer to: conditioning must be given, got None"):
        ClassifierFree[Array](2.0)(denoise, None)
    with pytest.raises(ValueError, match=r"must broadcast to shape \(4,\), got \(3,\)"):
        ClassifierFree(2.0, jnp.zeros(3, int))(denoise, LABELS)(X, LEVEL)
    with pytest.raises(ValueError, match=r"must have the structure PyTreeDef\(\*\), got PyTreeDef\(\(\*, \*\)\)"):
        ClassifierFree[object](2.0, (1, 2))(denoise, LABELS)(X, LEVEL)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one finite number, or one a sample, got inf"):
        ClassifierFree[Array](float("inf"))
    with pytest.raises(ValueError, match=r"got \[nan\] in shape \(2,\)"):
        ClassifierFree[Array](jnp.array([1.0, jnp.nan]))
    with pytest.raises(ValueError, match=r"of shape \(4,\), got \(3,\)"):
        ClassifierFree(jnp.ones(3), jnp.array(2))(denoise, LABELS)(X, LEVEL)


def test_channels_beside_x0_are_guided_too() -> None:
    def with_variance(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        x0 = denoise(x_t, level, cond)
        return jnp.concatenate([x0, jnp.tanh(x0)], axis=-1)

    guided = ClassifierFree(3.0, jnp.array(2))(with_variance, LABELS)(X, LEVEL)
    v = [jnp.tanh(denoise(X, LEVEL, cond)) for cond in (LABELS, None)]
    np.testing.assert_allclose(guided[..., :2], closed_form(3.0), atol=1e-6)
    np.testing.assert_allclose(guided[..., 2:], v[1] + 3 * (v[0] - v[1]), atol=1e-6)
