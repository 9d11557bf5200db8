"""Models and runs of this project as pipelines: they draw what their own methods draw."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.generative_models.core.configuration import ModelConfig
from artifex.generative_models.interop import Scheduler
from artifex.generative_models.models.diffusion import DDIMModel, DiTModel, LDMModel
from artifex.pipelines import ClassConditional, PixelSpace, Unconditional, from_model
from artifex.samplers import DDIM, sample
from artifex.schedules import Clipped, NoiseLevel
from artifex.training import RunConfig, Trainer

SHAPE = (8, 8, 1)


def config(kind: str, **parameters: Any) -> ModelConfig:  # noqa: ANN401 -- of any model
    return ModelConfig(name="tiny", model_class=kind, input_dim=SHAPE, parameters={"noise_steps": 20, **parameters})


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_ddim_draws_as_the_model_does() -> None:
    model = DDIMModel(config("DDIMModel", ddim_steps=4), rngs=nnx.Rngs(0))
    z = noise(2, *SHAPE)
    pipe = from_model(model)
    assert isinstance(pipe, Unconditional)
    assert pipe.settings({}).steps == 4
    expected = model.generate(2, initial_noise=jnp.asarray(z))
    np.testing.assert_allclose(pipe.latents(count=2, latents=z), expected, atol=2e-6)
    pictures = pipe(count=2, latents=z)
    assert [picture.size for picture in pictures] == [(8, 8)] * 2
    levels = np.round(np.clip(np.asarray(expected)[..., 0] / 2 + 0.5, 0, 1) * 255)
    np.testing.assert_allclose([np.asarray(p, np.float32) for p in pictures], levels, atol=1)


def test_latents_of_any_shape_are_decoded() -> None:
    model = LDMModel(config("LDMModel", latent_dim=3, scale_factor=0.5), rngs=nnx.Rngs(0))
    pipe, z = from_model(model), noise(1, 3)
    tableau = DDIM().tableau(model.schedule, model.times(5))
    latents = sample(model.denoiser(), tableau, jnp.asarray(z))
    found = pipe.latents(latents=z, sampler="ddim", steps=5)
    np.testing.assert_allclose(found, latents, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pipe.decode(found), model.decode(latents / 0.5), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"size must be that of the model's data, \(8, 8\), got \(16, 16\)"):
        pipe(size=(16, 16))


@pytest.mark.slow
def test_classes_are_guided_away_from_the_null_class() -> None:
    parameters = {"img_size": 8, "hidden_size": 16, "depth": 1, "num_heads": 2, "patch_size": 4, "num_classes": 3}
    model = DiTModel(config("DiTModel", **parameters), rngs=nnx.Rngs(0))
    pipe, z = from_model(model), noise(1, *SHAPE)
    assert isinstance(pipe, ClassConditional)
    tableau = DDIM().tableau(model.schedule, model.times(3))

    def denoise(x_t: jax.Array, level: NoiseLevel[jax.Array]) -> jax.Array:
        towards, away = (model.denoiser(jnp.asarray([label]))(x_t, level)[..., :1] for label in (2, 3))
        return away + 2.5 * (towards - away)

    expected = sample(Clipped(denoise, 1.0), tableau, jnp.asarray(z))
    found = pipe.latents(2, latents=z, sampler="ddim", steps=3, guidance=2.5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"prompt must be a class in \[0, 2\]; got 3"):
        pipe(3)


@pytest.mark.slow
def test_a_run_draws_its_classes(tmp_path: Path) -> None:
    fields = {
        "data": {"kind": "digits"},
        "backbone": {"kind": "dit", "hidden": 16, "depth": 1, "heads": 2, "patch": 4},
        "steps": 2,
        "batch_size": 4,
    }
    config = RunConfig.model_validate(fields)
    trained, schedule = Trainer(config, tmp_path / "run").fit(), config.schedule
    scheduler = Scheduler(schedule.build(), trained.denoiser.prediction, DDIM(), schedule.timesteps, clip=1.0)
    pipe = ClassConditional(trained.module, scheduler, PixelSpace(1), size=(8, 8), num_classes=10)
    a, b = pipe([3, 4], steps=3)
    assert a.size == (8, 8)
    assert np.array_equal(np.asarray(b), np.asarray(pipe(4, steps=3)[0]))
