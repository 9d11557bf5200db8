"""The documented guidance on two Gaussian classes, whose noise and posterior are known in closed form.

By Bayes' rule both methods have the same guided noise, and one reference.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.generative_models.models.diffusion import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DDPMModel,
    GuidedDiffusionModel,
    ModelConfig,
    apply_guidance,
    cosine_guidance_schedule,
    linear_guidance_schedule,
)
from tests.models.exact import LABEL_MEANS, STD, HostArray, linear_abar

pytestmark = pytest.mark.slow

STEPS = 30
CHAIN = {"noise_steps": STEPS, "beta_start": 0.01, "beta_end": 0.4}
BETA = np.linspace(0.01, 0.4, STEPS)
ABAR = linear_abar(STEPS, 0.01, 0.4)
COUNT = 16_384


class Logits(nnx.Module):
    """log p(x_t | class), the class's Gaussian, up to what both classes share."""

    def __init__(self) -> None:
        self.abar = nnx.Variable(jnp.asarray(ABAR, jnp.float32))

    def __call__(self, x: Array, t: Array) -> Array:
        abar = self.abar[...][t.astype(jnp.int32)][:, None, None]
        power = (x.reshape(len(x), -1, 1) - jnp.sqrt(abar) * jnp.asarray([[LABEL_MEANS]])) ** 2
        return jnp.sum(-0.5 * power / (abar * STD**2 + 1 - abar), axis=1)


class TwoClasses(nnx.Module):
    """E[eps | x_t, class]; without a class, or with label 2, of the even mixture of both."""

    def __init__(self) -> None:
        self.abar = nnx.Variable(jnp.asarray(ABAR, jnp.float32))
        self.logits = Logits()

    def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
        abar = self.abar[...][t.astype(jnp.int32)].reshape(-1, *(1,) * x.ndim)
        center = jnp.sqrt(abar) * jnp.asarray(LABEL_MEANS).reshape(*(1,) * x.ndim, -1)
        each = jnp.sqrt(1 - abar) * (x[..., None] - center) / (abar * STD**2 + 1 - abar)
        share = jax.nn.softmax(self.logits(x, t), axis=-1)
        if cond is not None:
            known = jnp.eye(3)[cond][:, :2]
            share = jnp.where(cond[:, None] == 2, share, known)
        return jnp.sum(each * share.reshape(len(x), *(1,) * (x.ndim - 1), 2), axis=-1)


def noise(x: HostArray, t: int, label: int | None) -> HostArray:
    """The same in float64 NumPy, of samples with one element."""
    a = ABAR[t]
    variance = a * STD**2 + 1 - a
    each = [np.sqrt(1 - a) * (x - np.sqrt(a) * m) / variance for m in LABEL_MEANS]
    if label is not None:
        out: HostArray = each[label]
        return out
    weight = [np.exp(-0.5 * (x - np.sqrt(a) * m) ** 2 / variance) for m in LABEL_MEANS]
    mixed: HostArray = (weight[0] * each[0] + weight[1] * each[1]) / (weight[0] + weight[1])
    return mixed


def guided(x: HostArray, t: int, w: float, label: int) -> HostArray:
    return noise(x, t, None) + w * (noise(x, t, label) - noise(x, t, None))


@lru_cache
def law(w: float, label: int) -> tuple[float, float, float]:
    """Mean, standard deviation and fourth central moment of a guided chain's samples.

    The density of x_t is propagated on a grid, step by step, by the posterior's kernel (Ho et al. 2020, equation 7).
    """
    x = np.linspace(-7, 7, 1401)
    p = np.exp(-0.5 * x**2)
    for t in range(STEPS - 1, -1, -1):
        a, before, beta = ABAR[t], ABAR[t - 1] if t else 1.0, BETA[t]
        x0 = (x - np.sqrt(1 - a) * guided(x, t, w, label)) / np.sqrt(a)
        if t:
            mean = np.sqrt(before) * beta / (1 - a) * x0 + np.sqrt(1 - beta) * (1 - before) / (1 - a) * x
            p = np.exp(-0.5 * (x[:, None] - mean) ** 2 / (beta * (1 - before) / (1 - a))) @ p
            p /= p.sum()
    m = float(p @ x0)
    return m, float(np.sqrt(p @ (x0 - m) ** 2)), float(p @ (x0 - m) ** 4)


def config(kind: str, **parameters: object) -> ModelConfig:
    return ModelConfig(name="two", model_class=kind, input_dim=(1,), parameters={**CHAIN, **parameters})


def backbone_fn(model_config: ModelConfig, *, rngs: nnx.Rngs) -> TwoClasses:
    return TwoClasses()


def model(w: float, method: str | None) -> GuidedDiffusionModel:
    classifier = Logits() if method == "classifier" else None
    return GuidedDiffusionModel(
        config("GuidedDiffusionModel"),
        backbone_fn,
        rngs=nnx.Rngs(0),
        guidance_method=method,  # type: ignore[arg-type]
        guidance_scale=w,
        classifier=classifier,
    )


PLAIN = DDPMModel(config("DDPMModel", num_classes=2), backbone_fn=backbone_fn, rngs=nnx.Rngs(0))
X = jax.random.normal(jax.random.key(0), (3, 1))
T = jnp.array([0, 12, 29])
LABELS = jnp.array([0, 1, 1])


def expected(w: float, labels: Array = LABELS) -> HostArray:
    x = np.asarray(X, np.float64)
    return np.stack([guided(x[i], int(T[i]), w, int(labels[i])) for i in range(3)])


@pytest.mark.parametrize("method", ["classifier_free", "classifier"])
@pytest.mark.parametrize("w", [0.0, 1.0, 3.0])
def test_guided_samples_have_the_law_of_the_guided_chain(method: str, w: float) -> None:
    """Mean and variance of 8,192 samples per class, within 4.5 standard errors; w = 1 is the class itself."""
    labels = jnp.arange(COUNT) % 2
    samples = model(w, method).generate(COUNT, conditioning=labels, clip_denoised=False, rngs=nnx.Rngs(1))
    for label, center in enumerate(LABEL_MEANS):
        mean, std, fourth = law(w, label)
        part = np.asarray(samples, np.float64)[np.asarray(labels) == label]
        assert abs(part.mean() - mean) < 4.5 * std / np.sqrt(part.size)
        assert abs(part.var() - std**2) < 4.5 * np.sqrt((fourth - std**4) / part.size)
        if w == 1:
            assert mean == pytest.approx(center, abs=0.02)
            assert 0.8 * STD < std < STD  # thirty steps narrow it
        if w == 3:
            assert abs(mean) > abs(center) + 0.05


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0, 7.5])
def test_classifier_free_is_the_formula(w: float) -> None:
    """For every scale, by ``__call__`` and by ``apply_guidance`` on outputs of the model."""
    np.testing.assert_allclose(ClassifierFreeGuidance(w)(PLAIN, X, T, LABELS), expected(w), rtol=1e-4, atol=1e-5)
    with_labels, without = PLAIN(X, T, conditioning=LABELS), PLAIN(X, T, conditioning=None)
    np.testing.assert_allclose(apply_guidance(with_labels, without, w), expected(w), rtol=1e-4, atol=1e-5)
    arrays = (with_labels["predicted_noise"], without["predicted_noise"])
    np.testing.assert_array_equal(apply_guidance(*arrays, guidance_scale=w), apply_guidance(with_labels, without, w))


def test_default_scales_are_the_documented_ones() -> None:
    assert ClassifierFreeGuidance().guidance_scale == 7.5
    np.testing.assert_allclose(ClassifierFreeGuidance()(PLAIN, X, T, LABELS), expected(7.5), rtol=1e-4, atol=1e-4)
    assert ClassifierGuidance(Logits()).guidance_scale == 1.0
    assert model(7.5, "classifier_free").guidance_scale == 7.5


def test_a_condition_to_stay_away_from() -> None:
    away = ClassifierFreeGuidance(2.0, unconditional_conditioning=0)(PLAIN, X, T, LABELS)
    x, labels = np.asarray(X, np.float64), np.asarray(LABELS)
    c = np.stack([noise(x[i], int(T[i]), int(labels[i])) for i in range(3)])
    u = np.stack([noise(x[i], int(T[i]), 0) for i in range(3)])
    np.testing.assert_allclose(away, u + 2.0 * (c - u), rtol=1e-4, atol=1e-5)


def test_classifier_is_the_formula_whatever_the_batch() -> None:
    """The gradient of the batch's mean would be three times too small; a call's label overrides the constructor's."""
    ones = jnp.ones(3, jnp.int32)
    guide = ClassifierGuidance(classifier=Logits(), guidance_scale=2.0, class_label=1)
    np.testing.assert_allclose(guide(PLAIN, X, T, rngs=nnx.Rngs(0)), expected(2.0, ones), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(guide(PLAIN, X[1:2], T[1:2]), expected(2.0, ones)[1:2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(guide(PLAIN, X, T, class_label=0), expected(2.0, 0 * ones), rtol=1e-4, atol=1e-4)


def test_no_method_follows_the_condition_as_it_is() -> None:
    labels = jnp.zeros(64, jnp.int32)
    plain, by_one = (
        model(1.0, method).generate(64, conditioning=labels, rngs=nnx.Rngs(2)) for method in (None, "classifier_free")
    )
    np.testing.assert_allclose(plain, by_one, atol=1e-5)


def test_schedules_reach_both_ends() -> None:
    """Linear and half-cosine, (1 - cos(pi / 4)) / 2 at a quarter; traced steps too."""
    for schedule in (linear_guidance_schedule, cosine_guidance_schedule):
        assert schedule(0, 101) == pytest.approx(1.0)
        assert schedule(100, 101) == pytest.approx(7.5)
        assert schedule(50, 101, 2.0, 4.0) == pytest.approx(3.0)
        values = [schedule(step, 101, start_scale=5.0, end_scale=0.0) for step in range(101)]
        assert np.all(np.diff(values) < 0)
        traced = jax.jit(lambda step, s=schedule: s(step, 101))(jnp.array(25))
        np.testing.assert_allclose(traced, schedule(25, 101), rtol=1e-6)
    assert linear_guidance_schedule(25, 101) == pytest.approx(1 + 6.5 / 4)
    assert cosine_guidance_schedule(25, 101) == pytest.approx(1 + 6.5 * (1 - np.cos(np.pi / 4)) / 2)


@pytest.mark.parametrize("schedule", [linear_guidance_schedule, cosine_guidance_schedule])
def test_a_schedule_may_stand_for_a_scale(schedule: object) -> None:
    """A rise from 0 to 3 in two DDIM steps is 0, then 3, on any model; a single call has the scale of its timestep."""
    assert callable(schedule)
    rise = ClassifierFreeGuidance(partial(schedule, start_scale=0.0, end_scale=3.0))
    out = PLAIN.sample(
        (3, 1),
        "ddim",
        2,
        initial_noise=X,
        conditioning=LABELS,
        guidance=rise.guidance(PLAIN),
        clip_denoised=False,
    )
    x = np.asarray(X, np.float64)[:, 0]
    nodes = [(29, 14, 0.0), (14, None, 3.0)]
    for t, s, w in nodes:
        eps = np.array([guided(x[i : i + 1], t, w, int(LABELS[i]))[0] for i in range(3)])
        b = 1.0 if s is None else ABAR[s]
        x = np.sqrt(b) * (x - np.sqrt(1 - ABAR[t]) * eps) / np.sqrt(ABAR[t]) + np.sqrt(1 - b) * eps
    np.testing.assert_allclose(out[:, 0], x, rtol=1e-3, atol=1e-4)
    scales = [float(schedule(STEPS - 1 - int(t), STEPS, 0.0, 3.0)) for t in T]
    each = np.concatenate([expected(scales[i])[i : i + 1] for i in range(3)])
    np.testing.assert_allclose(rise(PLAIN, X, T, LABELS), each, rtol=1e-4, atol=1e-4)


def test_a_condition_is_never_ignored() -> None:
    """Other labels give other samples; a model with an unconditional network raises (see also the bad input)."""
    a, b = (
        model(3.0, "classifier_free").generate(8, conditioning=jnp.full(8, label), rngs=nnx.Rngs(1)) for label in (0, 1)
    )
    assert float(jnp.abs(a - b).min()) > 0.1
