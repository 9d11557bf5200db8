"""Classifier guidance, with the exact classifier of two Gaussian classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.guidance import Classifier, ClassifierFree, Conditional, Guidance
from tests.guidance.exact import LABELS, X, classify, clean, denoise, eps, level_of


def test_by_bayes_scale_1_is_the_conditional_denoiser() -> None:
    with jax.enable_x64(True):
        x, labels = jnp.asarray(X), jnp.asarray(LABELS)
        guided = Classifier(classify)(denoise, labels)
        np.testing.assert_allclose(guided(x, level_of()), denoise(x, level_of(), labels), atol=1e-12)


@pytest.mark.parametrize("w", [0.0, 0.5, 3.0])
def test_is_the_papers_formula_for_the_noise(w: float) -> None:
    with jax.enable_x64(True):
        x, labels, level = jnp.asarray(X), jnp.asarray(LABELS), level_of()
        each = [jax.grad(lambda a, y=y: jax.nn.log_softmax(classify(a[None], level.t[:1]))[0, y]) for y in (0, 1)]
        slope = np.stack([each[y](a) for a, y in zip(x, LABELS, strict=True)])
        noise = eps(np.asarray(denoise(x, level, None)), level, X) - w * np.sqrt(1 - 0.8**2) * slope
        guided = Classifier(classify, w)(denoise, labels)
        np.testing.assert_allclose(guided(x, level), clean(noise, level, X), atol=1e-12)


def test_a_sample_does_not_feel_its_batch() -> None:
    x, labels = jnp.asarray(X, jnp.float32), jnp.asarray(LABELS)
    whole = Classifier(classify, 2.0)(denoise, labels)(x, level_of())
    alone = Classifier(classify, 2.0)(denoise, labels[:1])(x[:1], level_of(1))
    np.testing.assert_allclose(whole[:1], alone, atol=1e-6)


def test_goes_around_any_guidance() -> None:
    x, labels, level = jnp.asarray(X, jnp.float32), jnp.asarray(LABELS), level_of()
    push = Classifier(classify, 2.0)(denoise, labels)(x, level) - denoise(x, level, None)
    for inside in (Conditional[Array](), ClassifierFree[Array](3.0, jnp.array(2))):
        guided = Classifier(classify, 2.0, inside)(denoise, labels)
        np.testing.assert_allclose(guided(x, level), inside(denoise, labels)(x, level) + push, atol=1e-5)


def test_without_signal_the_classifier_says_nothing() -> None:
    x, level = jnp.asarray(X, jnp.float32), level_of(alpha=0.0, sigma=1.0)
    np.testing.assert_allclose(Classifier(classify)(denoise, jnp.asarray(LABELS))(x, level), denoise(x, level, None))


def test_scale_labels_and_the_classifiers_arrays_are_data_of_a_compiled_call() -> None:
    traces = []

    def apply(parameters: Array, x_t: Array, t: Array) -> Array:
        return x_t * parameters

    @jax.jit
    def run(guided: object) -> Array:
        traces.append(1)
        assert callable(guided)
        out: Array = guided(jnp.asarray(X, jnp.float32), level_of())
        return out

    for w, labels in ((1.0, LABELS), (3.0, 1 - LABELS)):
        logits = jax.tree_util.Partial(apply, jnp.asarray(w))  # type: ignore[no-untyped-call]
        run(Classifier(logits, w)(denoise, jnp.asarray(labels)))
    assert len(traces) == 1


@pytest.mark.usefixtures("unhooked")
def test_what_a_classifier_must_give() -> None:
    x, labels = jnp.asarray(X, jnp.float32), jnp.asarray(LABELS)

    def one_number(x_t: Array, t: Array) -> Array:
        return t

    with pytest.raises(ValueError, match=r"logits of shape \(4, classes\), got \(4,\)"):
        Classifier(one_number)(denoise, labels)(x, level_of())
    with pytest.raises(ValueError, match=r"labels must be of shape \(4,\), one a sample, got \(3,\)"):
        Classifier(classify)(denoise, labels[:3])(x, level_of())
    with pytest.raises(ValueError, match="needs a condition to steer to, got None"):
        Classifier(classify)(denoise, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one finite number, or one a sample, got nan"):
        Classifier(classify, float("nan"))


def test_is_a_guidance() -> None:
    assert isinstance(Classifier(classify), Guidance)
