"""The process of all models and its reversal by one step, against the DDPM paper.

Reference values are the formulas of Ho et al. 2020, https://arxiv.org/abs/2006.11239, in float64 NumPy.
"""

from collections.abc import Mapping
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import MLP, MLPConfig, UNet
from artifex.generative_models.models.diffusion import DDIMModel, DDPMModel, DiffusionModel, ModelConfig
from artifex.schedules import Discrete
from artifex.schedules.betas import BetaSchedule
from tests.models.exact import SHAPE, config, exact, linear_abar, traced

pytestmark = pytest.mark.slow

BETA = np.linspace(1e-4, 0.02, 1000)
ABAR = np.cumprod(1 - BETA)
BEFORE = np.append(1.0, ABAR[:-1])
MODEL = DDPMModel(config("DDPMModel"), backbone_fn=exact, rngs=nnx.Rngs(0))


def mlp(model_config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
    return MLP(MLPConfig(features=model_config.input_dim[0], hidden=8, depth=1, dropout=0.5), rngs=rngs)


def vectors(model_class: str = "DiffusionModel", **parameters: object) -> ModelConfig:
    return ModelConfig(name="v", model_class=model_class, input_dim=(3,), parameters=parameters)


def column(values: np.ndarray, like: Array) -> np.ndarray:
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def pair(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Data and noise."""
    key = jax.random.key(seed)
    return (
        jax.random.uniform(key, (count, *SHAPE), minval=-1),
        jax.random.normal(jax.random.fold_in(key, 1), (count, *SHAPE)),
    )


def wide(x: Array) -> np.ndarray:
    return np.asarray(x, np.float64)


def test_constructor_calls_backbone_fn_with_the_config() -> None:
    calls = []

    def backbone_fn(model_config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
        calls.append((model_config, rngs))
        return mlp(model_config, rngs=rngs)

    given, rngs = vectors(), nnx.Rngs(0)
    model = DiffusionModel(given, backbone_fn, rngs=rngs)
    assert calls == [(given, rngs)]
    assert isinstance(model.backbone, MLP)
    assert isinstance(model, nnx.Module)


def test_tables_are_the_papers() -> None:
    model = DiffusionModel(vectors(noise_steps=10, beta_start=0.1, beta_end=0.4), mlp, rngs=nnx.Rngs(0))
    short = np.linspace(0.1, 0.4, 10)
    for model_, beta in ((MODEL, BETA), (model, short)):
        abar = np.cumprod(1 - beta)
        for name, table in {
            "betas": beta,
            "alphas": 1 - beta,
            "alphas_cumprod": abar,
            "sqrt_alphas_cumprod": np.sqrt(abar),
            "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - abar),
            "posterior_variance": beta * (1 - np.append(1.0, abar[:-1])) / (1 - abar),
        }.items():
            np.testing.assert_allclose(getattr(model_, name), table, rtol=1e-6, atol=1e-12, err_msg=name)


def test_setup_noise_schedule_may_be_replaced() -> None:
    """A subclass sets another chain; all tables and samples follow it."""

    class Constant(DiffusionModel):
        def setup_noise_schedule(self) -> None:
            self.schedule = Discrete(np.full(5, 0.3))

    model = Constant(vectors(), mlp, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(model.alphas_cumprod, 0.7 ** np.arange(1, 6), rtol=1e-6)
    x = jnp.ones((1, 3))
    np.testing.assert_allclose(model.q_sample(x, jnp.array([4]), 0 * x), np.sqrt(0.7**5), rtol=1e-6)
    before = model.schedule
    model.setup_noise_schedule()
    assert model.schedule == before


@pytest.mark.parametrize("name", get_args(BetaSchedule))
def test_every_beta_schedule_is_known_by_name(name: str) -> None:
    """Linear and cosine against their papers; every name is a chain whose signal falls from nearly 1."""
    model = DDPMModel(config("DDPMModel", beta_schedule=name, noise_steps=100), backbone_fn=exact, rngs=nnx.Rngs(0))
    abar = wide(model.alphas_cumprod)
    assert abar.shape == (100,)
    assert np.all(np.diff(abar) < 0)
    if name == "linear":
        np.testing.assert_allclose(abar, linear_abar(100), rtol=1e-6)
    if name == "cosine":  # Nichol and Dhariwal 2021, equation 17; s = 0.008, betas clipped to 0.999
        f = np.cos((np.arange(101) / 100 + 0.008) / 1.008 * np.pi / 2) ** 2
        np.testing.assert_allclose(abar, np.cumprod(1 - np.minimum(1 - f[1:] / f[:-1], 0.999)), rtol=2e-6)


@pytest.mark.parametrize("kind", [DDPMModel, DDIMModel])
def test_default_network_is_a_unet_or_an_mlp(kind: type[DDPMModel]) -> None:
    """Of the config's widths; vectors get an MLP, and data of another rank need a ``backbone_fn``."""
    images = ModelConfig(name="i", model_class=kind.__name__, input_dim=(4, 4, 1), hidden_dims=(8, 16))
    widths: list[int] = []

    def call(rngs: nnx.Rngs) -> Array:
        model = kind(images, rngs=rngs)
        assert isinstance(model.backbone, UNet)
        widths.extend(model.backbone.config.channels)
        return model(jnp.ones((2, 4, 4, 1)), jnp.array([0, 999]))["predicted_noise"]

    assert traced(call).shape == (2, 4, 4, 1)
    assert widths == [8, 16]
    assert isinstance(kind(vectors(kind.__name__), rngs=nnx.Rngs(0)).backbone, MLP)
    with pytest.raises(
        ValueError, match=r"input_dim must be \(H, W, C\) or \(D,\) for a default network, got \(4, 4\)"
    ):
        kind(images.model_copy(update={"input_dim": (4, 4)}), rngs=nnx.Rngs(0))


def test_call_gives_the_noise_and_what_it_belongs_to() -> None:
    x_t, _ = pair(5)
    t = jnp.array([0, 1, 500, 998, 999])
    outputs = MODEL(x_t, t)
    assert set(outputs) == {"predicted_noise", "x_t", "timesteps"}
    direct = MODEL.backbone(x_t, t.astype(jnp.float32))
    np.testing.assert_array_equal(outputs["predicted_noise"], direct)
    np.testing.assert_array_equal(outputs["x_t"], x_t)
    np.testing.assert_array_equal(outputs["timesteps"], t)
    labels = jnp.array([0, 1, 1, 0, 1])
    steered = MODEL(x_t, t, conditioning=labels)["predicted_noise"]
    np.testing.assert_array_equal(steered, MODEL.backbone(x_t, t.astype(jnp.float32), labels))
    assert float(jnp.abs(steered - direct).max()) > 0.01


def test_training_turns_dropout_on() -> None:
    model = DiffusionModel(vectors(), mlp, rngs=nnx.Rngs(0))
    network = model.backbone
    assert isinstance(network, MLP)
    for layer in (network.blocks[0].second, network.out):
        layer.kernel[...] = jnp.ones_like(layer.kernel[...])
    x, t = jnp.ones((64, 3)), jnp.zeros(64, jnp.int32)
    still = model(x, t)["predicted_noise"]
    assert float(still.std(axis=0).max()) < 1e-5
    assert float(model(x, t, training=True, rngs=nnx.Rngs(1))["predicted_noise"].std(axis=0).min()) > 1e-3
    np.testing.assert_array_equal(model(x, t, training=False)["predicted_noise"], still)


def test_q_sample_is_the_papers() -> None:
    """Equation 4: x_t = sqrt(abar) x0 + sqrt(1 - abar) eps."""
    x0, eps = pair(5)
    t = np.array([0, 10, 250, 998, 999])
    a = column(ABAR[t], x0)
    expected = np.sqrt(a) * wide(x0) + np.sqrt(1 - a) * wide(eps)
    np.testing.assert_allclose(MODEL.q_sample(x0, jnp.asarray(t), eps), expected, atol=1e-6)
    one = MODEL.q_sample(x0, jnp.array(250), eps)
    np.testing.assert_allclose(one[2], expected[2], atol=1e-6)


def test_q_sample_draws_standard_noise() -> None:
    x0 = jnp.full((2000, *SHAPE), 0.5)
    x_t = MODEL.q_sample(x0, jnp.full(2000, 300), rngs=nnx.Rngs(1))
    eps = (wide(x_t) - np.sqrt(ABAR[300]) * 0.5) / np.sqrt(1 - ABAR[300])
    assert abs(eps.mean()) * np.sqrt(eps.size) < 4.5
    assert abs(eps.std() - 1) * np.sqrt(2 * eps.size) < 4.5
    assert abs(np.corrcoef(eps[:, 0, 0, 0], eps[:, 0, 0, 1])[0, 1]) < 0.1
    assert len(np.unique(eps)) > 0.99 * eps.size


def test_forward_diffusion_says_which_noise_it_drew() -> None:
    x0, _ = pair(5)
    t = np.array([0, 1, 500, 998, 999])
    x_t, eps = MODEL.forward_diffusion(x0, jnp.asarray(t), rngs=nnx.Rngs(2))
    a = column(ABAR[t], x0)
    np.testing.assert_allclose(x_t, np.sqrt(a) * wide(x0) + np.sqrt(1 - a) * wide(eps), atol=1e-6)
    assert abs(float(eps.std()) - 1) * np.sqrt(2 * eps.size) < 4.5


def test_predict_start_from_noise_is_the_papers() -> None:
    """x0 = (x_t - sqrt(1 - abar) eps) / sqrt(abar); relative to 1 / sqrt(abar), the factor of rounding in x_t."""
    x_t, eps = pair(5)
    t = np.array([0, 10, 250, 998, 999])
    a = column(ABAR[t], x_t)
    expected = (wide(x_t) - np.sqrt(1 - a) * wide(eps)) / np.sqrt(a)
    found = wide(MODEL.predict_start_from_noise(x_t, jnp.asarray(t), eps))
    assert np.max(np.abs(found - expected) * np.sqrt(a)) < 1e-6


def test_p_sample_has_the_posteriors_moments() -> None:
    """Equations 6 and 7, of p_sample and denoise_step alike: the mean by opposite draws, the variance by many."""
    count, levels = 20_000, np.array([1, 300, 999])
    x_t, eps = np.array([0.7, -0.3, 1.5]), np.array([0.2, -0.5, 1.6])
    before, a, beta = BEFORE[levels], ABAR[levels], BETA[levels]
    x0 = np.clip((x_t - np.sqrt(1 - a) * eps) / np.sqrt(a), -1, 1)
    mean = np.sqrt(before) * beta / (1 - a) * x0 + np.sqrt(1 - beta) * (1 - before) / (1 - a) * x_t
    std = np.sqrt(beta * (1 - before) / (1 - a))
    x_many, eps_many, t_many = (
        jnp.repeat(jnp.asarray(v, d), count) for v, d in ((x_t, jnp.float32), (eps, jnp.float32), (levels, jnp.int32))
    )
    for draws in (
        MODEL.p_sample(eps_many, x_many, t_many, rngs=nnx.Rngs(3)),
        MODEL.denoise_step(x_many, t_many, eps_many, rngs=nnx.Rngs(4)),
    ):
        rows = wide(draws).reshape(3, count)
        assert np.all(np.abs(rows.mean(axis=1) - mean) < 4.5 * std / np.sqrt(count) + 1e-6)
        assert np.all(np.abs(rows.std(axis=1) / std - 1) < 4.5 / np.sqrt(2 * count))


def test_the_last_p_sample_is_its_mean() -> None:
    """At t = 0 nothing is drawn: the result is the predicted x0, clipped to [-1, 1] unless disabled."""
    x_t, eps = pair(5)
    t = jnp.zeros(5, jnp.int32)
    x0 = (wide(x_t) - np.sqrt(1e-4) * wide(eps)) / np.sqrt(1 - 1e-4)
    np.testing.assert_allclose(MODEL.p_sample(eps, x_t, t), np.clip(x0, -1, 1), atol=1e-6)
    far = 3 * x_t
    x0 = (wide(far) - np.sqrt(1e-4) * wide(eps)) / np.sqrt(1 - 1e-4)
    np.testing.assert_allclose(MODEL.p_sample(eps, far, t, clip_denoised=False), x0, atol=2e-6)
    np.testing.assert_allclose(MODEL.denoise_step(far, t, eps), np.clip(x0, -1, 1), atol=1e-6)
    np.testing.assert_allclose(MODEL.denoise_step(far, t, eps, False), x0, atol=2e-6)


def test_generate_takes_a_shape() -> None:
    assert traced(lambda rngs: MODEL.generate(rngs=rngs)).shape == (1, *SHAPE)
    assert traced(lambda rngs: MODEL.generate(2, rngs=rngs, shape=(2, 3))).shape == (2, 2, 3)
    assert traced(lambda rngs: MODEL.generate(n_samples=2, rngs=rngs, shape=(5,))).dtype == jnp.float32


def test_sample_takes_a_count_or_a_shape() -> None:
    assert traced(lambda rngs: MODEL.sample(2, rngs=rngs)).shape == (2, *SHAPE)
    assert traced(lambda rngs: MODEL.sample((2, 3, 1), rngs=rngs)).shape == (2, 3, 1)
    assert traced(lambda rngs: MODEL.sample((2, 5), "ddim", 2, rngs=rngs)).shape == (2, 5)


def test_absent_rngs_advance_the_models_own() -> None:
    """Two calls differ, two equal programs agree, and given rngs determine the result."""

    def program() -> tuple[DDIMModel, Mapping[str, Array]]:
        model = DDIMModel(config("DDIMModel"), backbone_fn=exact, rngs=nnx.Rngs(5))
        x, t = jnp.ones((1, *SHAPE)), jnp.array([500])
        return model, {
            "q_sample": model.q_sample(x, t),
            "q_sample again": model.q_sample(x, t),
            "forward_diffusion": model.forward_diffusion(x, t)[1],
            "p_sample": model.p_sample(x, x, t),
            "denoise_step": model.denoise_step(x, t, x),
            "ddim_step": model.ddim_step(x, t, t - 100, x, 1.0),
            "sample": model.sample(1, steps=3),
            "generate": model.ddim_sample(1, 3),
        }

    (first, a), (second, b) = program(), program()
    assert {name: float(jnp.abs(a[name] - b[name]).max()) for name in a} == dict.fromkeys(a, 0.0)
    assert float(jnp.abs(a["q_sample"] - a["q_sample again"]).max()) > 0.1
    assert float(jnp.abs(a["p_sample"] - a["denoise_step"]).max()) > 1e-3
    again, given = first.ddim_sample(1, 3), [m.ddim_sample(1, 3, rngs=nnx.Rngs(7)) for m in (first, second)]
    assert float(jnp.abs(a["generate"] - again).max()) > 1e-3
    np.testing.assert_array_equal(given[0], given[1])


@pytest.mark.parametrize("shape", [(3,), (4, 1), (2, 2, 2, 1)])
def test_data_may_be_of_any_rank(shape: tuple[int, ...]) -> None:
    data = ModelConfig(name="r", model_class="DDPMModel", input_dim=shape)
    model = DDPMModel(data, backbone_fn=exact, rngs=nnx.Rngs(0))
    x, t = jnp.ones((2, *shape)), jnp.array([0, 2])
    assert traced(lambda rngs: model.generate(2, rngs=rngs)).shape == (2, *shape)
    assert traced(lambda rngs: model.sample(2, "ddim", 2, rngs=rngs)).shape == (2, *shape)
    assert traced(lambda rngs: model.q_sample(x, t, rngs=rngs)).shape == (2, *shape)
    assert traced(lambda rngs: model.loss_fn(x, model(x, t))["loss"]).shape == ()
