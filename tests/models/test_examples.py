"""The documented examples at a small size; if they show shapes alone, the call is traced and not run."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import MLP, MLPConfig, UNet, UNetConfig
from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel
from artifex.generative_models.models.diffusion.ddim import DDIMModel
from artifex.generative_models.models.diffusion.ddpm import DDPMModel
from artifex.generative_models.models.diffusion.dit import DiTModel
from artifex.generative_models.models.diffusion.guidance import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    GuidedDiffusionModel,
    apply_guidance,
    cosine_guidance_schedule,
    linear_guidance_schedule,
)
from artifex.generative_models.models.diffusion.latent import LDMModel
from artifex.generative_models.models.diffusion.score import ScoreDiffusionModel
from tests.models.exact import exact, traced

pytestmark = pytest.mark.slow

IMAGE = (32, 32, 3)


def config(kind: str, shape: tuple[int, ...] = IMAGE, **parameters: object) -> ModelConfig:
    return ModelConfig(
        name="example", model_class=kind, input_dim=shape, hidden_dims=(8, 16), activation="silu", parameters=parameters
    )


def unet(model_config: ModelConfig, *, rngs: nnx.Rngs) -> UNet:
    shape = UNetConfig(base_channels=8, channel_mults=(1, 2), num_res_blocks=1, num_classes=10, groups=4, head_dim=None)
    return UNet(shape, rngs=rngs)


def mlp(model_config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
    return MLP(MLPConfig(features=2, hidden=4, depth=1, num_classes=10), rngs=rngs)


class Classifier(nnx.Module):
    def __init__(self) -> None:
        self.layer = nnx.Linear(2, 10, rngs=nnx.Rngs(0))

    def __call__(self, x: Array, t: Array) -> Array:
        return self.layer(x)


T = jnp.array([100, 200, 300, 400])
Example = Callable[[nnx.Rngs], Array]


def ddpm(rngs: nnx.Rngs) -> DDPMModel:
    return DDPMModel(config("DDPMModel"), rngs=rngs)


def base(rngs: nnx.Rngs) -> DiffusionModel:
    return DiffusionModel(config("DiffusionModel"), unet, rngs=rngs)


def transformer(rngs: nnx.Rngs) -> DiTModel:
    parameters = {"hidden_size": 16, "depth": 1, "num_heads": 2, "patch_size": 8, "num_classes": 10, "cfg_scale": 2.0}
    return DiTModel(ModelConfig(name="d", model_class="DiTModel", input_dim=IMAGE, parameters=parameters), rngs=rngs)


def latent(rngs: nnx.Rngs) -> LDMModel:
    parameters = {"latent_dim": 16, "encoder_hidden_dims": [8, 8], "decoder_hidden_dims": [8, 8]}
    shape = ModelConfig(name="l", model_class="LDMModel", input_dim=(64, 64, 3), parameters=parameters)
    return LDMModel(config=shape, rngs=rngs)


def step(rngs: nnx.Rngs) -> Array:
    model, x_t, t = base(rngs), jnp.ones((1, *IMAGE)), jnp.array([500])
    return model.p_sample(model(x_t, t, rngs=rngs)["predicted_noise"], x_t, t, rngs=rngs)


SHAPES: dict[str, tuple[Example, tuple[int, ...]]] = {
    "calling a model": (
        lambda r: base(r)(jax.random.normal(r.sample(), (4, *IMAGE)), T, rngs=r, training=True)["predicted_noise"],
        (4, *IMAGE),
    ),
    "adding noise": (
        lambda r: base(r).q_sample(jax.random.normal(r.sample(), (8, *IMAGE)), jnp.array([100] * 8), rngs=r),
        (8, *IMAGE),
    ),
    "a single step": (step, (1, *IMAGE)),
    "generating": (lambda r: base(r).generate(n_samples=16, rngs=r), (16, *IMAGE)),
    "noise and what it was": (
        lambda r: jnp.stack(ddpm(r).forward_diffusion(jnp.ones((4, *IMAGE)), T, rngs=r)),
        (2, 4, *IMAGE),
    ),
    "sampling by DDPM": (lambda r: ddpm(r).sample(16, scheduler="ddpm", rngs=r), (16, *IMAGE)),
    "sampling by DDIM": (lambda r: ddpm(r).sample(16, scheduler="ddim", steps=50, rngs=r), (16, *IMAGE)),
    "scores": (
        lambda r: ScoreDiffusionModel(config=config("ScoreDiffusionModel"), rngs=r).sample(16, num_steps=1000, rngs=r),
        (16, *IMAGE),
    ),
    "encoding": (lambda r: jnp.stack(latent(r).encode(jnp.ones((8, 64, 64, 3)))), (2, 8, 16)),
    "decoding": (lambda r: latent(r).decode(jax.random.normal(r.sample(), (8, 16))), (8, 64, 64, 3)),
    "latent sampling": (lambda r: latent(r).sample(16, rngs=r), (16, 64, 64, 3)),
    "calling a transformer": (
        lambda r: transformer(r)(jnp.ones((4, *IMAGE)), T, y=jnp.array([0, 1, 2, 3]), deterministic=False),
        (4, *IMAGE),
    ),
    "a transformer's samples": (lambda r: transformer(r).generate(n_samples=16, rngs=r, num_steps=1000), (16, *IMAGE)),
    "a transformer's guided samples": (
        lambda r: transformer(r).generate(
            n_samples=16, y=jnp.array([i % 10 for i in range(16)]), cfg_scale=4.0, rngs=r, num_steps=1000
        ),
        (16, *IMAGE),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_the_documented_ones(name: str) -> None:
    example, shape = SHAPES[name]
    assert traced(example).shape == shape


def test_a_trajectory_has_a_thousand_states() -> None:
    points = ModelConfig(name="p", model_class="ScoreDiffusionModel", input_dim=(2,))
    model = ScoreDiffusionModel(config=points, rngs=nnx.Rngs(0), backbone_fn=mlp)
    lengths = []

    def example(rngs: nnx.Rngs) -> Array:
        trajectory = model.sample(4, num_steps=1000, return_trajectory=True, rngs=rngs)
        lengths.append(len(trajectory))
        return trajectory[-1]

    assert traced(example).shape == (4, 2)
    assert lengths == [1000]


def test_nodes_of_fifty_steps() -> None:
    model = DDIMModel(config("DDIMModel"), rngs=nnx.Rngs(0), backbone_fn=exact)
    timesteps = np.asarray(model.get_ddim_timesteps(50))
    assert timesteps[:3].tolist() == [999, 979, 959]
    assert timesteps[-2:].tolist() == [19, 0]


def test_deterministic_and_stochastic_ddim() -> None:
    """Without fresh noise the first state determines the result; with it, it does not."""
    points = ModelConfig(name="p", model_class="DDIMModel", input_dim=(2,))
    model, start = DDIMModel(points, rngs=nnx.Rngs(0), backbone_fn=exact), jnp.ones((16, 2))
    for eta, same in ((0.0, True), (0.5, False)):
        a, b = (model.ddim_sample(16, 50, eta, rngs=nnx.Rngs(seed), initial_noise=start) for seed in (0, 1))
        assert bool(jnp.array_equal(a, b)) is same


def test_encode_edit_decode() -> None:
    """An image that is encoded and decoded is itself; with an edit between, it is another."""
    points = ModelConfig(name="p", model_class="DDIMModel", input_dim=(2,))
    model, image = DDIMModel(points, rngs=nnx.Rngs(0), backbone_fn=exact), jnp.array([0.4, -0.1])
    code = model.ddim_reverse(image, ddim_steps=50, rngs=nnx.Rngs(0))
    back, edited = (
        model.ddim_sample(1, steps=50, initial_noise=noise[None])[0] for noise in (code, code + jnp.array([0.5, 0.0]))
    )
    np.testing.assert_allclose(back, image, atol=0.05)
    assert float(edited[0] - back[0]) > 0.05
    np.testing.assert_allclose(edited[1], back[1], atol=1e-5)


def test_guidance_by_hand_and_by_model() -> None:
    """The formula, the two guidance classes and the guided model take the documented arguments."""
    points = ModelConfig(
        name="p", model_class="GuidedDiffusionModel", input_dim=(2,), parameters={"num_classes": 10, "noise_steps": 500}
    )
    rngs, labels, x_t = nnx.Rngs(0), jnp.array([1, 2, 3, 4]), jnp.ones((4, 2))
    model = GuidedDiffusionModel(points, mlp, rngs=rngs, guidance_method="classifier_free", guidance_scale=7.5)
    assert isinstance(model.backbone, MLP)
    model.backbone.out.kernel[...] = jax.random.normal(rngs(), model.backbone.out.kernel.shape)
    with_labels = model(x_t, T, conditioning=labels, rngs=rngs)
    without = model(x_t, T, conditioning=None, rngs=rngs)
    by_hand = apply_guidance(with_labels, without, guidance_scale=7.5)
    guide = ClassifierFreeGuidance(guidance_scale=7.5)
    np.testing.assert_allclose(guide(model, x_t, T, labels, rngs=rngs), by_hand, rtol=1e-5, atol=1e-5)
    towards = ClassifierGuidance(classifier=Classifier(), guidance_scale=1.0, class_label=5)
    moved = towards(model, x_t, T, rngs=rngs)
    assert moved.shape == (4, 2)
    assert float(jnp.abs(moved - without["predicted_noise"]).max()) > 1e-3
    samples = traced(lambda r: model.generate(n_samples=4, conditioning=labels, rngs=r))
    assert samples.shape == (4, 2)


@pytest.mark.parametrize("schedule", [linear_guidance_schedule, cosine_guidance_schedule])
def test_scales_step_by_step(schedule: Callable[..., float]) -> None:
    scales = [schedule(step, 20, start_scale=1.0, end_scale=7.5) for step in range(20)]
    assert scales[0] == 1.0
    assert scales[-1] == pytest.approx(7.5)
    assert scales == sorted(scales)
    assert [schedule(step, 20) for step in range(20)] == scales


CONFIGS: dict[str, dict[str, object]] = {
    "DDPMModel": {"noise_steps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "DDIMModel": {
        "noise_steps": 1000,
        "ddim_steps": 50,
        "eta": 0.0,
        "skip_type": "uniform",
        "beta_start": 1e-4,
        "beta_end": 0.02,
    },
    "ScoreDiffusionModel": {"sigma_min": 0.01, "sigma_max": 1.0, "score_scaling": 1.0, "noise_steps": 1000},
    "LDMModel": {
        "latent_dim": 16,
        "encoder_hidden_dims": [64, 128],
        "decoder_hidden_dims": [128, 64],
        "encoder_type": "simple",
        "scale_factor": 0.18215,
        "noise_steps": 1000,
    },
    "DiTModel": {
        "img_size": 32,
        "patch_size": 4,
        "hidden_size": 512,
        "depth": 12,
        "num_heads": 8,
        "mlp_ratio": 4.0,
        "num_classes": 10,
        "dropout_rate": 0.1,
        "learn_sigma": False,
        "cfg_scale": 2.0,
        "noise_steps": 1000,
    },
}
KINDS: dict[str, type[DiffusionModel]] = {
    kind.__name__: kind  # type: ignore[misc]
    for kind in (DDPMModel, DDIMModel, ScoreDiffusionModel, LDMModel, DiTModel)
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_documented_parameters_make_a_model(kind: str) -> None:
    """Every block of the configuration reference sets the model's typed parameters."""
    given = ModelConfig(name="c", model_class=kind, input_dim=IMAGE, parameters=CONFIGS[kind])
    dumped: list[dict[str, object]] = []

    def example(rngs: nnx.Rngs) -> Array:
        made = KINDS[kind](config=given, rngs=rngs)  # type: ignore[call-arg]
        dumped.append(made.parameters.model_dump())
        return jnp.zeros(())

    traced(example)
    for key, value in CONFIGS[kind].items():
        assert dumped[0][key] == (tuple(value) if isinstance(value, list) else value)
