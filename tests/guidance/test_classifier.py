"""Classifier guidance, with the exact classifier of two Gaussian classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.guidance import Classifier, ClassifierFree, Conditional, Guidance
from artifex.schedules import NoiseLevel
from tests.guidance.exact import (
    ALPHA,
    HERE,
    LABELS,
    MEANS,
    SIGMA,
    SPREAD,
    X,
    call,
    classify,
    clean,
    denoise,
    eps,
    logits,
)

pytestmark = pytest.mark.slow

UNCONDITIONAL, CONDITIONAL = denoise(X, HERE, None), denoise(X, HERE, LABELS)


def slope() -> np.ndarray:
    """grad log p(y | x_t), with the classes' own pulls weighed by how likely they are."""
    pulls = (ALPHA * MEANS - X[:, None]) / ((ALPHA * SPREAD) ** 2 + SIGMA**2)
    scores = np.exp(logits(X, HERE))
    shares = scores / scores.sum(axis=1, keepdims=True)
    out: np.ndarray = pulls[np.arange(4), LABELS] - np.sum(shares[..., None] * pulls, axis=1)
    return out


def test_by_bayes_scale_1_is_the_conditional_denoiser() -> None:
    with jax.enable_x64(True):
        got = call(Classifier(classify)(denoise, jnp.asarray(LABELS)))
    np.testing.assert_allclose(got, CONDITIONAL, atol=1e-12)


@pytest.mark.parametrize("w", [0.0, 0.5, 3.0])
def test_is_the_papers_formula_for_the_noise(w: float) -> None:
    with jax.enable_x64(True):
        got = call(Classifier(classify, w)(denoise, jnp.asarray(LABELS)))
    np.testing.assert_allclose(got, clean(eps(UNCONDITIONAL) - w * np.sqrt(1 - ALPHA**2) * slope()), atol=1e-12)


def test_a_sample_does_not_feel_its_batch() -> None:
    alone = call(
        Classifier(classify, 2.0)(denoise, jnp.asarray(LABELS[:1])), jax.tree.map(lambda v: v[:1], HERE), X[:1]
    )
    np.testing.assert_allclose(alone, UNCONDITIONAL[:1] + 2 * (CONDITIONAL - UNCONDITIONAL)[:1], atol=1e-5)


@pytest.mark.parametrize("inside", [Conditional(), ClassifierFree(3.0, jnp.array(2))])
def test_goes_around_any_guidance(inside: Guidance[Array]) -> None:
    w = 1 if isinstance(inside, Conditional) else 3
    got = call(Classifier(classify, 2.0, inside)(denoise, jnp.asarray(LABELS)))
    np.testing.assert_allclose(got, UNCONDITIONAL + (w + 2) * (CONDITIONAL - UNCONDITIONAL), atol=1e-5)


def test_leaves_a_variance_alone() -> None:
    def doubled(x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        return jnp.concatenate([denoise(x_t, level, cond)] * 2, axis=-1)

    got = call(Classifier(classify)(doubled, jnp.asarray(LABELS)))
    np.testing.assert_allclose(got, np.concatenate([CONDITIONAL, UNCONDITIONAL], axis=-1), atol=1e-5)


def test_without_signal_the_classifier_says_nothing() -> None:
    level = NoiseLevel(HERE.t, np.zeros(4), np.ones(4))
    got = call(Classifier(classify)(denoise, jnp.asarray(LABELS)), level)
    np.testing.assert_allclose(got, denoise(X, level, None), atol=1e-6)


def test_scale_labels_and_the_classifiers_arrays_are_data_of_a_compiled_call() -> None:
    traces = []

    def apply(parameters: Array, x_t: Array, t: Array) -> Array:
        traces.append(1)
        return x_t * parameters

    for w, labels in ((1.0, LABELS), (3.0, 1 - LABELS)):
        scores = jax.tree_util.Partial(apply, jnp.asarray(w))  # type: ignore[no-untyped-call]
        call(Classifier(scores, w)(denoise, jnp.asarray(labels)))
    assert len(traces) == 1


@pytest.mark.usefixtures("unhooked")
def test_what_a_classifier_must_give() -> None:
    labels = jnp.asarray(LABELS)
    with pytest.raises(ValueError, match=r"logits of shape \(4, classes\), got \(4,\)"):
        call(Classifier(lambda x_t, t: t)(denoise, labels))
    with pytest.raises(ValueError, match=r"labels must be of shape \(4,\), one per sample, got \(3,\)"):
        call(Classifier(classify)(denoise, labels[:3]))
    with pytest.raises(ValueError, match="needs a condition to steer to: conditioning must be given, got None"):
        Classifier(classify)(denoise, None)
    with pytest.raises(ValueError, match="one finite number, or one per sample, got nan"):
        Classifier(classify, float("nan"))


def test_is_a_guidance() -> None:
    assert isinstance(Classifier(classify), Guidance)
