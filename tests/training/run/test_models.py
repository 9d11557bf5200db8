"""Documented models trained with their own losses: averages, resumption, meshes, samples, evaluation, bad input."""

import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.command.app import main
from artifex.generative_models.models import diffusion
from artifex.generative_models.models.diffusion import (
    DDPMModel,
    GuidedDiffusionModel,
    LDMModel,
    ModelConfig,
)
from artifex.generative_models.models.diffusion.networks import network
from artifex.training import ConfigError, Dataset, SamplingConfig, Trainer, parse_config
from artifex.training.config.models import CLASSES
from artifex.training.evaluation.run import Run
from artifex.training.run.export import export_network, load_exported
from artifex.training.step.model_objective import LatentNetwork, LatentObjective, ModelObjective
from tests.training.helpers.models import MODELS, config, data, trainer
from tests.training.helpers.tiny import same

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


def first(examples: Dataset) -> tuple[jax.Array, jax.Array]:
    """A batch of 16."""
    x0, labels = next(examples.batches(16, 0))
    return jnp.asarray(x0), jnp.asarray(labels)


def test_every_documented_class_is_trained() -> None:
    documented = {name for name in diffusion.__all__ if name.endswith("Model")}
    named = {parse_config(f"data: toy\nmodel: {text}").model.class_ for text in MODELS.values()}  # type: ignore[union-attr]
    assert set(CLASSES) == named == documented


@pytest.mark.parametrize("name", MODELS)
def test_losses_are_those_of_the_documented_methods(name: str) -> None:
    """To rounding, from ``q_sample``, a call of the network and ``loss_fn``."""
    learner = trainer(name).learner
    (x0, labels), objective = first(data(name)), learner.objective
    draws: Any = objective.draw(x0, labels, jax.random.key(1))
    found = objective.losses(learner.network.training(learner.network.parameters, jax.random.key(2)), x0, draws)
    assert isinstance(objective, ModelObjective | LatentObjective)
    model: Any = objective.model
    assert found.shape == (16,)
    if isinstance(model, LDMModel):
        mean, logvar = model.encode(x0)
        latents = mean + jnp.exp(logvar / 2) * draws.posterior_eps
        x_t = model.q_sample(model.parameters.scale_factor * latents, draws.t, draws.eps)
        outputs = {
            "predicted_noise": model.backbone(x_t, draws.t, draws.cond), "noise": draws.eps, "mean": mean,
            "logvar": logvar, "reconstruction": model.decode(latents),
        }  # fmt: skip
        assert isinstance(objective, LatentObjective)
        want = model.loss_fn(x0, outputs, stage=objective.stage)["loss"]
    else:
        x_t = model.q_sample(x0, draws.t, draws.eps)
        out = model.predict(x_t, model.level(draws.t, x_t), draws.cond)
        want = model.loss_fn({"x": x0}, model.named_outputs(out, x_t, draws.t))["loss"]
    np.testing.assert_allclose(jnp.mean(found), want, rtol=1e-3)
    assert (draws.t.dtype == jnp.int32) == (name != "score")
    assert set(np.unique(draws.cond).tolist()) <= {0, 1, 2}  # two classes and the null label


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_trained_averaged_resumed_sampled_and_evaluated(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given, examples = config(name, "preview: {every: 60, count: 4, steps: 5, sampler: ddpm}"), data(name)
    whole = Trainer(given, "whole", data=examples).fit()
    losses = np.asarray(whole.losses)
    assert losses[-15:].mean() < 0.9 * losses[:5].mean(), losses

    calls = count(-30)
    part = Trainer(given, "part", data=examples).fit(stop=lambda: next(calls) >= 0)
    assert part.steps_done == 30
    rest = Trainer(given, "part", data=examples).fit(resume=True)
    assert same(rest.state, whole.state)
    assert same(Trainer.from_folder("part", any_devices=True).load().state, whole.state)

    # The model's own sampler, with averaged parameters, and a frozen part that is as it was.
    model, module = whole.model, whole.module
    backbone: Any = model.backbone
    parts = LatentNetwork(model.autoencoder, backbone) if isinstance(model, LDMModel) else backbone
    assert same(nnx.state(parts, nnx.Param), nnx.state(module, nnx.Param))
    assert same(nnx.state(module, nnx.Param), whole.learner.average.read(whole.state.average))
    options: dict[str, dict[str, Any]] = {"guided": {"conditioning": jnp.array([0, 1, 0])}, "dit": {"num_steps": 5}}
    samples = model.generate(3, rngs=nnx.Rngs(0), **options.get(name, {}))
    assert samples.shape == (3, *examples.shape)
    assert np.isfinite(samples).all()
    if isinstance(whole.objective, LatentObjective) and whole.objective.frozen is not None:
        initial = nnx.state(whole.learner.module, nnx.Param)
        trained = "backbone" if whole.objective.frozen == "autoencoder" else "autoencoder"
        assert same(whole.state.parameters[whole.objective.frozen], initial[whole.objective.frozen])
        assert not same(whole.state.parameters[trained], initial[trained])

    assert next(Path("whole/previews").iterdir()).stat().st_size > 0
    run = Run(Path("whole"), SamplingConfig(steps=5))
    drawn = np.concatenate(list(run.samples(6, 0, batch=4)))
    assert drawn.shape == (6, *examples.shape)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn, np.concatenate(list(run.samples(6, 0, batch=6))), atol=1e-4)
    np.save("real.npy", first(examples)[0])
    arguments = ["evaluate", "whole", "--steps", "5", "--count", "16", "--against", "real.npy"]
    assert main([*arguments, "--extractor", "raw", "--metrics", "sliced_wasserstein"]) == 0
    assert "sliced_wasserstein" in capsys.readouterr().out


def test_a_model_made_in_python_and_its_sections_model_are_trained_alike(tmp_path: Path) -> None:
    named = config("ddpm")
    examples = data("ddpm")
    section = named.model
    assert section is not None
    model = Trainer(named, data=examples).learner.objective.model  # type: ignore[attr-defined]
    before = nnx.state(model, nnx.Param)
    bare = named.model_copy(update={"model": None, "steps": 5})
    by_hand = Trainer.from_model(model, bare, tmp_path / "run", data=examples)
    trained = by_hand.fit()
    assert same(trained.state, Trainer(named.model_copy(update={"steps": 5}), data=examples).fit().state)
    assert same(nnx.state(model, nnx.Param), before)
    assert type(trained.model) is DDPMModel
    assert same(Trainer.from_folder(tmp_path / "run", any_devices=True).load().state, trained.state)
    export_network(by_hand, tmp_path / "ddpm.safetensors", trained)
    assert same(load_exported(tmp_path / "ddpm.safetensors").parameters, trained.parameters)
    with pytest.raises(ValueError, match="is that of a run with a documented model"):
        _ = Trainer(parse_config("{data: toy, backbone: {kind: mlp, hidden: 8, depth: 1}, steps: 1}")).fit().model


def test_meshes_have_the_losses_of_one_device() -> None:
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "NPROC": "32",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4 "
        "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false",
    }
    command = [sys.executable, "-m", "tests.training.helpers.model_meshes"]
    child = subprocess.run(command, cwd=ROOT, env=environment, timeout=900, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    found: dict[str, list[list[float]]] = json.loads(child.stdout)
    assert list(found) == list(MODELS)
    for name, (one, four) in found.items():
        np.testing.assert_allclose(four, one, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {class: DiTMod}", r"model.*: class must be one of .*, got 'DiTMod'; the nearest is DiTModel"),
        ("model: {hidden_dims: [8]}", r"model\.class must be given"),
        ("model: {class: DDPMModel, noise_step: 5}", "noise_step is not known of DDPMModel; .* is noise_steps"),
        ("model: {class: DDPMModel, noise_steps: 0}", "noise_steps: must be greater than 0, got 0"),
        ("model: {class: DDPMModel, beta_start: 0.5}", "beta_start must be at most beta_end = 0.02, got 0.5"),
        ("model: {class: DDPMModel, stage: joint}", "stage must be null for DDPMModel: it is an option of LDMModel"),
        ("model: {class: DDPMModel, guidance_scale: 2.0}", "guidance_scale must be null for DDPMModel: .*"),
        ("model: {class: LDMModel, stage: both}", r"model\.stage must be .*, got 'both'"),
        ("{model: {class: DDPMModel}, prediction: x0}", "prediction must be left out with model, .*; got 'x0'"),
        ("{model: {class: DDPMModel}, precision: {compute: bfloat16}}", "precision.compute must be float32 with model"),
    ],
)  # fmt: skip
def test_configurations_of_models_that_are_refused(text: str, message: str) -> None:
    tree = text if text.startswith("{model") else f"{{{text}}}"
    with pytest.raises(ConfigError, match=message) as error:
        parse_config(f"{{data: toy, {tree[1:]}")
    assert "\n" not in str(error.value)


def ddpm(shape: tuple[int, ...] = (2,), **parameters: object) -> DDPMModel:
    given = ModelConfig(name="m", model_class="DDPMModel", input_dim=shape, hidden_dims=(8,), parameters=parameters)
    return DDPMModel(given, rngs=nnx.Rngs(0))


def test_models_that_do_not_fit_are_refused() -> None:
    toy, examples = parse_config("{data: toy, steps: 2}"), data("ddpm")
    with pytest.raises(ValueError, match=r"model: input_dim must be the shape of the data, \(2,\), got \(3,\)"):
        Trainer.from_model(ddpm((3,)), toy, data=examples)
    with pytest.raises(ValueError, match="model: num_classes must be null or at least the data's 2, got 1"):
        Trainer.from_model(ddpm(num_classes=1), toy, data=examples)
    with pytest.raises(ValueError, match="stage is an option of LDMModel, got 'joint' for DDPMModel"):
        Trainer.from_model(ddpm(), toy, data=examples, stage="joint")
    with pytest.raises(ValueError, match="prediction must be left out with model"):
        Trainer.from_model(ddpm(), toy.model_copy(update={"prediction": "x0"}), data=examples)
    with pytest.raises(ValueError, match=r"model: DiTModel can't take data of shape \(2,\): a DiT takes images"):
        Trainer(parse_config("{data: toy, model: {class: DiTModel}}"), data=examples)
    with pytest.raises(ValueError, match=r"classifier needs a classifier: use Trainer\.from_model"):
        Trainer(
            parse_config("{data: toy, model: {class: GuidedDiffusionModel, guidance_method: classifier}}"),
            data=examples,
        )
    with pytest.raises(ValueError, match=r"steps must be in \[1, 20\], got 50"):
        Trainer(config("ddpm", "preview: {}"), data=examples)


def test_labels_are_those_of_the_model() -> None:
    """A model without labels ignores the data's; one with more has room for others."""
    toy, examples = parse_config("{data: toy, steps: 2}"), data("ddpm")
    x0, labels = first(examples)
    for classes in (None, 5):
        made = Trainer.from_model(ddpm(num_classes=classes), toy, data=examples)
        assert made.objective.num_classes == classes
        draws: Any = made.objective.draw(x0, labels, jax.random.key(0))
        assert (draws.cond is None) == (classes is None)


class Judge(nnx.Module):
    """A classifier."""

    def __init__(self) -> None:
        self.layer = nnx.Linear(2, 2, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        out: jax.Array = self.layer(x)
        return out


def test_a_classifier_is_kept_and_not_trained() -> None:
    given = ModelConfig(name="m", model_class="GuidedDiffusionModel", input_dim=(2,), hidden_dims=(8,))
    judge = Judge()
    model = GuidedDiffusionModel(
        given, network, rngs=nnx.Rngs(0), guidance_method="classifier", guidance_scale=2.0, classifier=judge
    )
    trained = Trainer.from_model(model, parse_config("{data: toy, steps: 2}"), data=data("ddpm")).fit().model
    assert isinstance(trained, GuidedDiffusionModel)
    assert trained.classifier is not None
    assert same(nnx.state(trained.classifier), nnx.state(judge))
    assert trained.generate(2, conditioning=jnp.array([0, 1])).shape == (2, 2)
