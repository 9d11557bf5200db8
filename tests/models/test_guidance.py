"""Guidance under its documented names, on two Gaussian classes whose noise, posterior and slopes are known."""

from collections.abc import Callable
from functools import partial

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
    DiffusionModel,
    GuidedDiffusionModel,
    apply_guidance,
    cosine_guidance_schedule,
    linear_guidance_schedule,
)
from artifex.guidance import ClassifierFree
from artifex.samplers import Ddim, Ddpm
from artifex.schedules import Discrete, Host, betas, grid
from tests.models.exact import LABEL_MEANS, MEAN, STD, ExactNoise, config, exact_noise, moments

STEPS = 100
SCHEDULE = Discrete(betas.linear(STEPS, 1e-3, 0.2))
ABAR = SCHEDULE.alphas_cumprod
X = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
T = jnp.array([0, 40, 99])
LABELS = jnp.array([0, 1, 1])


def exact(_: object, *, rngs: nnx.Rngs) -> ExactNoise:
    return ExactNoise(ABAR, rngs)


class ExactLogits(nnx.Module):
    """log p(x_t | class): the class's Gaussian, up to what all classes share."""

    def __init__(self) -> None:
        self.abar = nnx.Variable(jnp.asarray(ABAR, jnp.float32))

    def __call__(self, x: Array, t: Array) -> Array:
        abar = self.abar[...][t.astype(jnp.int32)][:, None, None]
        centre = jnp.sqrt(abar) * jnp.asarray(LABEL_MEANS)
        power = (x.reshape(len(x), -1, 1) - centre) ** 2 / (abar * STD**2 + 1 - abar)
        return -0.5 * power.sum(1)


def model(**kwargs: object) -> GuidedDiffusionModel:
    plain = config("GuidedDiffusionModel", noise_steps=STEPS, beta_start=1e-3, beta_end=0.2)
    return GuidedDiffusionModel(plain, exact, rngs=nnx.Rngs(0), **kwargs)  # type: ignore[arg-type]


def noise(mean: Host | float) -> Host:
    return exact_noise(X, ABAR[np.asarray(T)], mean)


CENTRES = np.asarray(LABEL_MEANS)[np.asarray(LABELS)].reshape(3, 1, 1, 1)


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0, 7.5])
def test_classifier_free_is_the_formula(w: float) -> None:
    guided = ClassifierFreeGuidance(w)(model(), X, T, LABELS)
    np.testing.assert_allclose(guided, noise(MEAN) + w * (noise(CENTRES) - noise(MEAN)), rtol=1e-5, atol=1e-5)


def test_a_condition_to_stay_away_from() -> None:
    guided = ClassifierFreeGuidance(2.0, 0)(model(), X, T, LABELS)
    np.testing.assert_allclose(guided, 2 * noise(CENTRES) - noise(LABEL_MEANS[0]), rtol=1e-5, atol=1e-5)


def test_classifier_is_the_formula_whatever_the_batch() -> None:
    guide, plain = ClassifierGuidance(ExactLogits(), 2.0, class_label=1), model()

    def log_prob(x: Array, t: Array, label: Array) -> Array:
        return jax.nn.log_softmax(ExactLogits()(x[None], t[None])[0])[label]

    slope = jax.vmap(jax.grad(log_prob))(X, T, jnp.ones(3, int))
    sigma = np.sqrt(1 - ABAR[np.asarray(T)]).reshape(3, 1, 1, 1)
    expected = noise(MEAN) - 2 * sigma * np.asarray(slope, np.float64)
    np.testing.assert_allclose(guide(plain, X, T), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(guide(plain, X[1:2], jnp.array([40])), expected[1:2], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(
        guide(plain, X, T, class_label=0), ClassifierGuidance(ExactLogits(), 2.0, 0)(plain, X, T)
    )


def test_a_schedule_knows_the_step_of_a_timestep() -> None:
    guide = ClassifierFreeGuidance(partial(linear_guidance_schedule, start_scale=0.0, end_scale=99.0))
    w = (STEPS - 1 - np.asarray(T)).reshape(3, 1, 1, 1)
    expected = noise(MEAN) + w * (noise(CENTRES) - noise(MEAN))
    np.testing.assert_allclose(guide(model(), X, T, LABELS), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("w", [0.0, 1.0, 3.0])
def test_generate_is_guided(w: float) -> None:
    labels = jnp.arange(512) % 2
    guided = model(guidance_method="classifier_free", guidance_scale=w)
    samples = np.asarray(guided.generate(512, conditioning=labels, clip_denoised=False), np.float64)
    table = Ddpm().tableau(SCHEDULE, grid.every(STEPS))
    for label, centre in enumerate(LABEL_MEANS):
        mean, std = moments(table, mean=MEAN + w * (centre - MEAN))
        part = samples[np.asarray(labels) == label]
        error = std / np.sqrt(part.size)
        assert abs(part.mean() - mean) < 4 * error
        assert abs(part.std() - std) < 4 * error


def test_a_classifier_alone_finds_the_class() -> None:
    """With the noise of the mixture and w = 1, Bayes: what comes out is the class, up to the walk's own bias."""

    class Mixed(ExactNoise):
        def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
            each = jnp.stack([super(Mixed, self).__call__(x, t, jnp.full(len(x), c)) for c in (0, 1)], axis=-1)
            share = jax.nn.softmax(ExactLogits()(x, t), axis=-1)
            return jnp.sum(each * share[:, None, None, None], axis=-1)

    plain = config("GuidedDiffusionModel", noise_steps=STEPS, beta_start=1e-3, beta_end=0.2)
    guided = GuidedDiffusionModel(
        plain,
        lambda _, rngs: Mixed(ABAR, rngs),
        rngs=nnx.Rngs(0),
        guidance_method="classifier",
        guidance_scale=1.0,
        classifier=ExactLogits(),
    )
    labels = jnp.arange(256) % 2
    samples = np.asarray(guided.generate(256, conditioning=labels, clip_denoised=False), np.float64)
    for label, centre in enumerate(LABEL_MEANS):
        mean, std = moments(Ddpm().tableau(SCHEDULE, grid.every(STEPS)), mean=centre)
        part = samples[np.asarray(labels) == label]
        assert abs(part.mean() - mean) < 4 * std / np.sqrt(part.size)
        assert abs(part.std() - std) < 4 * std / np.sqrt(part.size)


def test_every_model_takes_guidance_and_schedules_follow_the_walk() -> None:
    """In two steps a schedule from 0 to 3 is 0 and then 3."""
    plain = DDPMModel(
        config("DDPMModel", noise_steps=STEPS, beta_start=1e-3, beta_end=0.2), backbone_fn=exact, rngs=nnx.Rngs(0)
    )
    rise = ClassifierFreeGuidance(partial(cosine_guidance_schedule, start_scale=0.0, end_scale=3.0)).guidance(plain)
    start = jax.random.normal(jax.random.key(1), X.shape)

    def walk(guidance: object) -> Array:
        return plain.sample(
            X.shape,
            "ddim",
            2,
            initial_noise=start,
            conditioning=LABELS,
            guidance=guidance,  # type: ignore[arg-type]
            clip_denoised=False,
        )

    np.testing.assert_allclose(walk(rise), walk(ClassifierFree(lambda level: 3.0 * (level.t < 60))), rtol=1e-5)
    table = Ddim().tableau(SCHEDULE, grid.trailing(STEPS, 2))
    gain = table.level.alpha * STD**2 / (table.level.alpha**2 * STD**2 + table.level.sigma**2)
    x = np.asarray(start, np.float64)
    for i, w in enumerate((0.0, 3.0)):
        centre = MEAN + w * (CENTRES - MEAN)
        alpha = table.level.alpha[i]
        x = table.evaluate[i, 0] * x + table.evaluate[i, 2] * (centre + gain[i] * (x - alpha * centre))
    np.testing.assert_allclose(walk(rise), x, rtol=1e-4, atol=1e-5)


def test_apply_guidance_takes_arrays_and_outputs() -> None:
    c, u = jnp.array([[1.0, 2.0]] * 2), jnp.array([[0.5, 4.0]] * 2)
    np.testing.assert_allclose(apply_guidance(c, u, 3.0), [[2.0, -2.0]] * 2)
    np.testing.assert_allclose(
        apply_guidance({"predicted_noise": c}, {"predicted_noise": u}, jnp.array([0.0, 1.0])), [[0.5, 4.0], [1.0, 2.0]]
    )


class WrongShape(nnx.Module):
    def __call__(self, x: Array, t: Array) -> Array:
        return x


def labelled() -> DiffusionModel:
    small = config("DiffusionModel", noise_steps=STEPS, num_classes=2)
    return DiffusionModel(small, exact, rngs=nnx.Rngs(0))


BAD: list[tuple[str, Callable[[], object], str]] = [
    ("method", lambda: model(guidance_method="cfg"), "must be 'classifier_free', 'classifier' or None, got 'cfg'"),
    ("no classifier", lambda: model(guidance_method="classifier"), "got NoneType and 'classifier'"),
    ("a classifier too many", lambda: model(classifier=ExactLogits()), "got ExactLogits and None"),
    ("no label", lambda: ClassifierGuidance(ExactLogits())(model(), X, T), "class_label must be given"),
    ("label", lambda: ClassifierGuidance(ExactLogits(), 1.0, 2)(model(), X, T), r"in \[0, 1\], got values from 2 to 2"),
    ("logits", lambda: ClassifierGuidance(WrongShape(), 1.0, 1)(model(), X, T), r"shape \(3, classes\), got \(3, 4,"),
    ("no condition", lambda: model(guidance_method="classifier_free").generate(2), "conditioning must be given"),
    (
        "labels of the walk",
        lambda: model(guidance_method="classifier", classifier=ExactLogits()).generate(1, conditioning=jnp.array([2])),
        r"labels must be in \[0, 1\], got values from 2 to 2",
    ),
    (
        "labels of the model",
        lambda: labelled().generate(2, conditioning=jnp.array([0, -1])),
        r"got values from -1 to 0",
    ),
    ("labels of a call", lambda: labelled()(X, T, conditioning=jnp.array([0, 1, 2])), r"from 0 to 2"),
    ("labels that are none", lambda: labelled().generate(1, conditioning=jnp.ones(1)), "integers of shape"),
    ("scale", lambda: apply_guidance(X, X, float("nan")), "guidance_scale must be finite"),
    ("scale of a walk", lambda: model(guidance_method="classifier_free", guidance_scale=np.inf).guidance, "finite"),
]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_says_got_and_expected(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
