"""The diffusion transformer as a model: its labels, its guidance, its variance and its walks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import DiT, DiTConfig
from artifex.generative_models.models.diffusion import ClassifierFreeGuidance, DiTModel, ModelConfig
from artifex.guidance import ClassifierFree
from artifex.samplers import Ddpm
from artifex.schedules import Discrete, Host, betas, grid
from tests.models.exact import LABEL_MEANS, MEAN, ExactNoise, config, exact_noise, moments

SMALL: dict[str, object] = {"patch_size": 2, "hidden_size": 16, "depth": 1, "num_heads": 2}
X = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
T = jnp.array([10, 400, 999])
Y = jnp.array([0, 1, 1])
SCHEDULE = Discrete(betas.linear(1000))


def exact(**parameters: object) -> DiTModel:
    return DiTModel(
        config("DiTModel", **parameters), rngs=nnx.Rngs(0), backbone_fn=lambda _, rngs: ExactNoise(ABAR, rngs)
    )


ABAR = SCHEDULE.alphas_cumprod


@pytest.mark.parametrize(("steps", "w"), [(50, 1.0), (50, 3.0), (1000, 1.0)])
def test_samples_have_the_moments_that_the_table_says(steps: int, w: float) -> None:
    labels = jnp.arange(512) % 2
    samples = exact().generate(512, rngs=nnx.Rngs(1), num_steps=steps, y=labels, cfg_scale=w, clip_denoised=False)
    table = Ddpm().tableau(SCHEDULE, grid.trailing(1000, steps))
    for label, centre in enumerate(LABEL_MEANS):
        mean, std = moments(table, mean=MEAN + w * (centre - MEAN))
        part = np.asarray(samples, np.float64)[np.asarray(labels) == label]
        assert abs(part.mean() - mean) < 4 * std / np.sqrt(part.size)
        assert abs(part.std() - std) < 4 * std / np.sqrt(part.size)


def noise(mean: Host | float) -> Host:
    return exact_noise(X, ABAR[np.asarray(T)], mean)


def test_a_call_is_guided_in_evaluation_and_not_in_training() -> None:
    model = exact(num_classes=2, cfg_scale=3.0, class_dropout_prob=0.0)
    c, u = noise(np.asarray(LABEL_MEANS)[np.asarray(Y)].reshape(3, 1, 1, 1)), noise(MEAN)
    for scale, call in (
        (3.0, model(X, T, Y, deterministic=True)),
        (1.0, model(X, T, Y)),
        (0.5, model(X, T, y=Y, cfg_scale=0.5)),
        (7.0, ClassifierFreeGuidance(7.0)(model, X, T, Y)),
        (0.0, model(X, T)),
    ):
        np.testing.assert_allclose(call, u + scale * (c - u), rtol=1e-5, atol=1e-5)


def test_training_drops_labels_to_the_null_class_at_random() -> None:
    model = exact(num_classes=2, class_dropout_prob=0.3)
    x, t, y = jnp.zeros((2000, 1)), jnp.full(2000, 100), jnp.ones(2000, int)
    null = float(model(x[:1], t[:1])[0, 0])
    dropped, again = (np.isclose(np.asarray(model(x, t, y))[:, 0], null) for _ in range(2))
    assert dropped.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 2000))
    assert np.any(dropped != again)


class Wide(ExactNoise):
    """Of the largest variance, v = 1, under a condition; of the least, v = -1, without."""

    def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
        noise = super().__call__(x, t, cond)
        return jnp.concatenate([noise, jnp.full_like(noise, -1.0 if cond is None else 1.0)], axis=-1)


def test_learned_variance_stands_beside_the_noise_and_is_walked() -> None:
    model = DiTModel(
        config("DiTModel", learn_sigma=True), rngs=nnx.Rngs(0), backbone_fn=lambda _, rngs: Wide(ABAR, rngs)
    )
    outputs = model.outputs(X, T, Y, deterministic=True, cfg_scale=2.0)
    c, u = noise(np.asarray(LABEL_MEANS)[np.asarray(Y)].reshape(3, 1, 1, 1)), noise(MEAN)
    np.testing.assert_allclose(outputs["predicted_noise"], 2 * c - u, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(outputs["predicted_variance"], jnp.full_like(X, 3.0))
    assert model(X, T).shape == X.shape
    samples = model.generate(512, rngs=nnx.Rngs(1), num_steps=20, y=jnp.zeros(512, int), clip_denoised=False)
    mean, std = moments(Ddpm("large").tableau(SCHEDULE, grid.trailing(1000, 20)), mean=LABEL_MEANS[0])
    assert std > 1.02 * moments(Ddpm().tableau(SCHEDULE, grid.trailing(1000, 20)))[1]
    assert float(samples.std()) == pytest.approx(std, abs=4 * std / np.sqrt(samples.size))
    assert float(samples.mean()) == pytest.approx(mean, abs=4 * std / np.sqrt(samples.size))


def test_a_learned_variance_learns_the_step() -> None:
    """The bound is lowest where the variance of the step is that of x_s given x_t, known for Gaussian data."""
    place, std = jnp.linspace(-1, 1, 41), 0.02
    (a, b), beta = ABAR[[2, 1]], float(SCHEDULE.betas[2])

    class Given(nnx.Module):
        def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
            noise = np.sqrt(1 - a) * x / (a * std**2 + 1 - a)
            return jnp.concatenate([noise, place[cond][:, None]], axis=-1)

    model = DiTModel(config("DiTModel", learn_sigma=True), rngs=nnx.Rngs(0), backbone_fn=lambda _, rngs: Given())
    x0, t = std * jax.random.normal(jax.random.key(0), (20_000, 1)), jnp.full(20_000, 2)

    @jax.jit
    def bound(i: Array) -> Array:
        x_t = model.q_sample(x0, t, jax.random.normal(jax.random.key(1), x0.shape))
        outputs = model.outputs(x_t, t, jnp.full(20_000, i), deterministic=True)
        return model.loss_fn(x0, outputs)["bound"]

    found = float(place[int(jnp.argmin(jax.lax.map(bound, jnp.arange(41))))])
    given = std**2 * (1 - a) / (a * std**2 + 1 - a)  # of x0 given x_t
    small = beta * (1 - b) / (1 - a)
    best = np.log((small + b * beta**2 / (1 - a) ** 2 * given) / small) / np.log(beta / small) * 2 - 1
    assert abs(best) < 0.5
    assert found == pytest.approx(best, abs=0.08)


def test_the_default_network_is_that_of_the_parameters_at_any_size() -> None:
    """Traced alone, which needs no compiler."""

    def build() -> Array:
        model = DiTModel(
            config("DiTModel", **SMALL, num_classes=2, dropout_rate=0.1, mlp_ratio=2.5, learn_sigma=True),
            rngs=nnx.Rngs(0),
            remat=True,
        )
        assert isinstance(model.backbone, DiT)
        assert model.backbone.config == DiTConfig(
            in_channels=2, patch=2, hidden=16, depth=1, heads=2, mlp_ratio=2.5, dropout=0.1, num_classes=2, remat=True
        )
        return model.generate(3, rngs=nnx.Rngs(0), num_steps=3, y=Y, cfg_scale=4.0, img_size=8)

    assert jax.eval_shape(build).shape == (3, 8, 8, 2)


def test_guidance_may_be_given_by_name() -> None:
    model = exact(num_classes=2)
    by_scale = model.generate(3, rngs=nnx.Rngs(0), num_steps=3, y=Y, cfg_scale=4.0)
    by_guidance = model.generate(3, rngs=nnx.Rngs(0), num_steps=3, y=Y, guidance=ClassifierFree(4.0, jnp.array(2)))
    np.testing.assert_allclose(by_scale, by_guidance, atol=1e-6)


def test_it_learns_from_the_noise_alone() -> None:
    model, eps = exact(), jax.random.normal(jax.random.key(3), X.shape)
    x_t = model.q_sample(X, T, eps)
    predicted = model(x_t, T)
    given = model.loss_fn({"x": X, "noise": eps}, predicted)["loss"]
    np.testing.assert_allclose(given, np.mean((np.asarray(predicted) - np.asarray(eps)) ** 2), rtol=1e-5)
    found = model.loss_fn({"x": X, "x_t": x_t, "timesteps": T}, predicted)["loss"]
    np.testing.assert_allclose(found, given, rtol=1e-4)


def dit(**fields: object) -> Callable[[], DiTModel]:
    base: dict[str, object] = {"name": "m", "model_class": "DiTModel", "input_dim": (4, 4, 2), "parameters": SMALL}
    return lambda: DiTModel(ModelConfig.model_validate(base | fields), rngs=nnx.Rngs(0))


BAD: list[tuple[str, Callable[[], object], str]] = [
    ("labels", lambda: exact(num_classes=2)(X, T, jnp.array([0, 1, 2])), r"in \[0, 1\], got values from 0 to 2"),
    ("labels of a walk", lambda: exact(num_classes=2).generate(rngs=nnx.Rngs(0), y=jnp.array([-1])), "from -1 to -1"),
    ("no classes", lambda: jax.eval_shape(lambda: dit()()(X, T, Y)), "cond must be None"),
    ("steps", lambda: exact().generate(rngs=nnx.Rngs(0), num_steps=1001), r"steps must be in \[1, 1000\], got 1001"),
    ("cfg", dit(parameters=SMALL | {"cfg_scale": 2.0}), "cfg_scale must be 1 where num_classes is None, got 2.0"),
    ("size", dit(parameters=SMALL | {"img_size": 8}), r"img_size must be the side of input_dim = \(4, 4, 2\), got 8"),
    ("patch", dit(parameters=SMALL | {"patch_size": 3}), r"patch_size must divide both sides of \(4, 4, 2\), got 3"),
    ("hidden_dims", dit(hidden_dims=(8,)), "hidden_dims must be None for a DiT"),
    ("activation", dit(activation="relu"), "activation is 'gelu', got 'relu'"),
    ("rank", dit(input_dim=(4, 2)), r"input_dim must be \(H, W, C\), got \(4, 2\)"),
    ("output", dit(output_dim=(4, 4, 4)), r"output_dim must be input_dim = \(4, 4, 2\) or its last"),
]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(("call", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_says_got_and_expected(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_option_without_a_use_is_refused() -> None:
    with pytest.raises(TypeError, match="unknown argument 'remat'"):
        DiTModel(config("DiTModel"), rngs=nnx.Rngs(0), backbone_fn=lambda _, rngs: ExactNoise(ABAR, rngs), remat=True)
