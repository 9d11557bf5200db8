"""The diffusion transformer as a model: labels, guidance, learned variance and samples."""

from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import DiT, DiTConfig
from artifex.generative_models.models.diffusion import DiTModel, ModelConfig
from artifex.guidance import ClassifierFree
from tests.models.exact import (
    COUNT,
    LABEL_MEANS,
    MEAN,
    SHAPE,
    STD,
    ExactNoise,
    HostArray,
    assert_moments,
    config,
    exact,
    linear_abar,
    moments,
    traced,
    trailing,
)

pytestmark = pytest.mark.slow

SMALL: dict[str, object] = {"patch_size": 2, "hidden_size": 16, "depth": 1, "num_heads": 2}
ABAR = linear_abar()
X = jax.random.normal(jax.random.key(0), (3, *SHAPE))
T = jnp.array([10, 400, 999])
Y = jnp.array([0, 1, 1])


def model(**parameters: object) -> DiTModel:
    return DiTModel(config("DiTModel", **parameters), rngs=nnx.Rngs(0), backbone_fn=exact)


PLAIN = model()
LABELED = model(num_classes=2, cfg_scale=3.0, class_dropout_prob=0.3)


def noise(mean: HostArray | float) -> HostArray:
    a = ABAR[np.asarray(T)].reshape(3, 1, 1, 1)
    out: HostArray = np.sqrt(1 - a) * (np.asarray(X, np.float64) - np.sqrt(a) * mean) / (a * STD**2 + 1 - a)
    return out


NULL, OF_LABEL = noise(MEAN), noise(np.asarray(LABEL_MEANS)[np.asarray(Y)].reshape(3, 1, 1, 1))


@pytest.mark.parametrize("steps", [50, 1000])
def test_samples_have_the_moments_of_the_respaced_chain(steps: int) -> None:
    samples = PLAIN.generate(COUNT, rngs=nnx.Rngs(1), num_steps=steps, clip_denoised=False)
    assert_moments(samples, *moments(ABAR, trailing(1000, steps), 1.0))


def test_guided_samples_have_the_moments_of_the_guided_gaussian() -> None:
    """Scale 3 moves a class's mean to three times its distance from the null class's; None is the config's 3."""
    labels = jnp.arange(COUNT) % 2
    by_call, by_config = (
        LABELED.generate(COUNT, rngs=nnx.Rngs(1), num_steps=50, y=labels, cfg_scale=scale, clip_denoised=False)
        for scale in (3.0, None)
    )
    np.testing.assert_array_equal(by_call, by_config)
    for label, center in enumerate(LABEL_MEANS):
        mean, std = moments(ABAR, trailing(1000, 50), 1.0, mean=MEAN + 3 * (center - MEAN))
        assert_moments(by_call[labels == label], mean, std)


def test_a_call_is_guided_in_evaluation_and_not_in_training() -> None:
    """Scale 1 is unguided, 0.5 is applied, None is the config's 3 in evaluation; no labels are the null class."""
    for scale, call in (
        (3.0, LABELED(X, T, Y, deterministic=True)),
        (0.5, LABELED(X, T, y=Y, cfg_scale=0.5)),
        (1.0, LABELED(X, T, y=Y, cfg_scale=1.0)),
        (0.0, LABELED(X, T)),
        (0.0, LABELED(X, T, None, deterministic=True, cfg_scale=1.0)),
    ):
        np.testing.assert_allclose(call, NULL + scale * (OF_LABEL - NULL), rtol=1e-4, atol=1e-5)


def test_training_drops_labels_to_the_null_class_at_random() -> None:
    """``class_dropout_prob`` of 5,000 labels within 4.5 standard errors, different in each call; 0.1 by default."""
    x, t, y = jnp.zeros((5000, 1)), jnp.full(5000, 100), jnp.ones(5000, jnp.int32)
    null = float(LABELED(x[:1], t[:1])[0, 0])
    dropped, again = (np.isclose(np.asarray(LABELED(x, t, y))[:, 0], null) for _ in range(2))
    assert abs(dropped.mean() - 0.3) < 4.5 * np.sqrt(0.21 / 5000)
    assert np.any(dropped != again)
    assert model(num_classes=2).parameters.class_dropout_prob == 0.1


def test_scale_one_costs_one_evaluation_and_both_halves_run_in_one_batch() -> None:
    batches: list[int] = []

    class Watched(ExactNoise):
        def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
            batches.append(len(x))
            return super().__call__(x, t, cond)

    watched = DiTModel(
        config("DiTModel", num_classes=2), rngs=nnx.Rngs(0), backbone_fn=lambda _, rngs: Watched(linear_abar())
    )
    traced(lambda rngs: watched.generate(3, rngs=rngs, num_steps=5, y=Y, cfg_scale=1.0))
    assert set(batches) == {3}
    batches.clear()
    traced(lambda rngs: watched.generate(3, rngs=rngs, num_steps=5, y=Y, cfg_scale=2.0))
    assert set(batches) == {6}


class Wide(ExactNoise):
    """Of the largest variance, v = 1, under a label; of the least, v = -1, without."""

    def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
        noise = super().__call__(x, t, cond)
        return jnp.concatenate([noise, jnp.full_like(noise, -1.0 if cond is None else 1.0)], axis=-1)


def test_learned_variance_stands_beside_the_noise_and_is_walked() -> None:
    r"""With v = 1 a step's variance is beta (Nichol and Dhariwal 2021, equation 15), here that of the kept nodes."""
    learned = DiTModel(
        config("DiTModel", learn_sigma=True), rngs=nnx.Rngs(0), backbone_fn=lambda _, rngs: Wide(linear_abar())
    )
    outputs = learned.outputs(X, T, Y, deterministic=True, cfg_scale=2.0)
    np.testing.assert_allclose(outputs["predicted_noise"], 2 * OF_LABEL - NULL, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs["predicted_variance"], jnp.full_like(X, 3.0))
    assert learned(X, T).shape == X.shape
    samples = learned.generate(
        COUNT, rngs=nnx.Rngs(1), num_steps=20, y=jnp.zeros(COUNT, jnp.int32), clip_denoised=False
    )
    places = np.append(ABAR[trailing(1000, 20)], 1.0)
    m, v, center = 0.0, 1.0, LABEL_MEANS[0]
    for a, b in pairwise(places):
        beta = 1 - a / b
        gain = np.sqrt(a) * STD**2 / (a * STD**2 + 1 - a)
        c0, c1 = np.sqrt(b) * beta / (1 - a), np.sqrt(1 - beta) * (1 - b) / (1 - a)
        m = c0 * (center + gain * (m - np.sqrt(a) * center)) + c1 * m
        v = (c0 * gain + c1) ** 2 * v + (beta if b < 1 else 0.0)
    assert_moments(samples, m, float(np.sqrt(v)))
    assert np.sqrt(v) > 1.02 * moments(ABAR, trailing(1000, 20), 1.0)[1]


def test_a_learned_variance_learns_the_step() -> None:
    """The bound is least at the variance of x_s given x_t, known for Gaussian data."""
    values, std = jnp.linspace(-1, 1, 41), 0.02
    (a, b), beta = ABAR[[2, 1]], 1 - ABAR[2] / ABAR[1]

    class Given(nnx.Module):
        def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
            noise = np.sqrt(1 - a) * x / (a * std**2 + 1 - a)
            return jnp.concatenate([noise, values[cond][:, None]], axis=-1)

    learned = DiTModel(config("DiTModel", learn_sigma=True), rngs=nnx.Rngs(0), backbone_fn=lambda _, rngs: Given())
    x0, t = std * jax.random.normal(jax.random.key(0), (20_000, 1)), jnp.full(20_000, 2)

    @jax.jit
    def bound(i: Array) -> Array:
        x_t = learned.q_sample(x0, t, jax.random.normal(jax.random.key(1), x0.shape))
        outputs = learned.outputs(x_t, t, jnp.full(20_000, i), deterministic=True)
        return learned.loss_fn(x0, outputs)["bound"]

    found = float(values[int(jnp.argmin(jax.lax.map(bound, jnp.arange(41))))])
    given = std**2 * (1 - a) / (a * std**2 + 1 - a)  # of x0 given x_t
    small = beta * (1 - b) / (1 - a)
    best = np.log((small + b * beta**2 / (1 - a) ** 2 * given) / small) / np.log(beta / small) * 2 - 1
    assert abs(best) < 0.5
    assert found == pytest.approx(best, abs=0.08)


def test_guidance_may_be_given_by_name() -> None:
    labeled = model(num_classes=2)
    by_scale = labeled.generate(3, rngs=nnx.Rngs(0), num_steps=3, y=Y, cfg_scale=4.0)
    by_guidance = labeled.generate(3, rngs=nnx.Rngs(0), num_steps=3, y=Y, guidance=ClassifierFree(4.0, jnp.array(2)))
    np.testing.assert_allclose(by_scale, by_guidance, atol=1e-6)


def test_the_default_network_is_that_of_the_parameters_at_any_size() -> None:
    """Traced, not compiled."""

    def build(rngs: nnx.Rngs) -> Array:
        made = DiTModel(
            config("DiTModel", **SMALL, num_classes=2, dropout_rate=0.1, mlp_ratio=2.5, learn_sigma=True),
            rngs=rngs,
            remat=True,
            scan=True,
        )
        assert isinstance(made.backbone, DiT)
        assert made.backbone.config == DiTConfig(
            in_channels=2,
            patch=2,
            hidden=16,
            depth=1,
            heads=2,
            mlp_ratio=2.5,
            dropout=0.1,
            num_classes=2,
            remat=True,
            scan=True,
        )
        return made.generate(3, rngs=rngs, num_steps=3, y=Y, cfg_scale=4.0, img_size=8)

    assert traced(build).shape == (3, 8, 8, 2)


def test_an_untrained_network_predicts_nothing() -> None:
    """adaLN and the last layer are initialized to zero."""
    made = DiTModel(config("DiTModel", **SMALL, num_classes=2), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(jax.jit(lambda x: made(x, T, Y, deterministic=True))(X), jnp.zeros_like(X))


def test_it_learns_from_the_noise_alone() -> None:
    eps = jax.random.normal(jax.random.key(3), X.shape)
    x_t = PLAIN.q_sample(X, T, eps)
    predicted = PLAIN(x_t, T)
    given = PLAIN.loss_fn({"x": X, "noise": eps}, predicted)["loss"]
    np.testing.assert_allclose(given, np.mean((np.asarray(predicted) - np.asarray(eps)) ** 2), rtol=1e-5)
    found = PLAIN.loss_fn({"x": X, "x_t": x_t, "timesteps": T}, predicted)["loss"]
    np.testing.assert_allclose(found, given, rtol=1e-4)


def dit(**fields: object) -> Callable[[], DiTModel]:
    base: dict[str, object] = {"name": "m", "model_class": "DiTModel", "input_dim": (4, 4, 2), "parameters": SMALL}
    return lambda: DiTModel(ModelConfig.model_validate(base | fields), rngs=nnx.Rngs(0))


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "labels": (lambda: LABELED(X, T, jnp.array([0, 1, 2])), r"in \[0, 1\], got values from 0 to 2"),
    "labels of a walk": (lambda: LABELED.generate(rngs=nnx.Rngs(0), y=jnp.array([-1])), "from -1 to -1"),
    "no classes": (lambda: traced(lambda rngs: dit()()(X, T, Y)), "cond must be None"),
    "steps": (lambda: PLAIN.generate(rngs=nnx.Rngs(0), num_steps=1001), r"steps must be in \[1, 1000\], got 1001"),
    "n_samples": (lambda: PLAIN.generate(0, rngs=nnx.Rngs(0)), "n_samples must be at least 1, got 0"),
    "t": (lambda: PLAIN(X, T + 1), r"timesteps must be in \[0, 999\], got values from 11 to 1000"),
    "cfg_scale": (dit(parameters=SMALL | {"cfg_scale": 2.0}), "cfg_scale must be 1 where num_classes is None, got 2.0"),
    "cfg_scale of a call": (lambda: LABELED(X, T, Y, cfg_scale=float("nan")), "finite"),
    "img_size": (dit(parameters=SMALL | {"img_size": 8}), r"img_size must be the side of .* = \(4, 4, 2\), got 8"),
    "patch_size": (dit(parameters=SMALL | {"patch_size": 3}), r"patch_size must divide .* \(4, 4, 2\), got 3"),
    "num_heads": (dit(parameters=SMALL | {"num_heads": 3}), "heads"),
    "depth": (dit(parameters=SMALL | {"depth": 0}), "depth"),
    "mlp_ratio": (dit(parameters=SMALL | {"mlp_ratio": 0.0}), "mlp_ratio"),
    "dropout_rate": (dit(parameters=SMALL | {"dropout_rate": 1.0}), "dropout_rate"),
    "hidden_dims": (dit(hidden_dims=(8,)), "hidden_dims must be None for a DiT"),
    "activation": (dit(activation="relu"), "activation is 'gelu', got 'relu'"),
    "input_dim": (dit(input_dim=(4, 2)), r"input_dim must be \(H, W, C\), got \(4, 2\)"),
    "output_dim": (dit(output_dim=(4, 4, 4)), r"output_dim must be input_dim = \(4, 4, 2\) or its last"),
}


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_says_got_and_expected(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
