"""Errors for documented arguments out of their domains: what was got and what was expected."""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import jax.numpy as jnp
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import MLP, MLPConfig
from artifex.generative_models.models.diffusion import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DDIMModel,
    DDPMModel,
    DiffusionModel,
    DiTModel,
    GuidedDiffusionModel,
    ModelConfig,
    ScoreDiffusionModel,
    apply_guidance,
    cosine_guidance_schedule,
    linear_guidance_schedule,
)
from artifex.guidance import ClassifierFree

pytestmark = pytest.mark.usefixtures("unhooked")

Call = Callable[[], object]


def network(config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
    classes = config.parameters.get("num_classes")
    assert classes is None or isinstance(classes, int)
    return MLP(MLPConfig(features=2, hidden=4, depth=1, num_classes=classes), rngs=rngs)


def config(**parameters: object) -> ModelConfig:
    return ModelConfig(name="bad", model_class="M", input_dim=(2,), parameters={"noise_steps": 20, **parameters})


class Wider(nnx.Module):
    """A network with an output of another shape than its input."""

    def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
        return jnp.concatenate([x, x], axis=-1)


class Judge(nnx.Module):
    """A classifier of ``classes``, or with an output of the wrong rank."""

    def __init__(self, classes: int | None) -> None:
        self.classes = classes

    def __call__(self, x: Array, t: Array) -> Array:
        return jnp.zeros(len(x)) if self.classes is None else jnp.zeros((len(x), self.classes)) + x[:, :1]


def steered(**options: object) -> GuidedDiffusionModel:
    return GuidedDiffusionModel(config(), network, rngs=nnx.Rngs(0), **anything(options))


def anything(value: object) -> Any:  # noqa: ANN401 -- what a caller without a type checker may pass
    return value


INFINITE = float("inf")
SMALL = {"img_size": 4, "hidden_size": 8, "depth": 1, "num_heads": 1}


@cache
def base() -> DiffusionModel:
    return DiffusionModel(config(), network, rngs=nnx.Rngs(0))


@cache
def ddpm() -> DDPMModel:
    return DDPMModel(config(), backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def labeled() -> DDPMModel:
    return DDPMModel(config(num_classes=3), backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def ddim() -> DDIMModel:
    return DDIMModel(config(ddim_steps=5), backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def score() -> ScoreDiffusionModel:
    return ScoreDiffusionModel(config=config(), backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def wider() -> DiffusionModel:
    return DiffusionModel(config(), lambda _, rngs: Wider(), rngs=nnx.Rngs(0))


@cache
def dit() -> DiTModel:
    return DiTModel(
        ModelConfig(
            name="bad",
            model_class="DiTModel",
            input_dim=(4, 4, 1),
            parameters={
                "noise_steps": 20,
                "num_classes": 3,
                "img_size": 4,
                "hidden_size": 8,
                "depth": 1,
                "num_heads": 1,
            },
        ),
        rngs=nnx.Rngs(0),
    )


X = jnp.ones((2, 2))
T = jnp.array([3, 4])
NAN = X.at[0, 0].set(jnp.nan)
INF = X.at[1, 1].set(jnp.inf)


OUT_OF_DOMAIN: dict[str, tuple[Call, str]] = {
    "timesteps beyond": (lambda: base()(X, jnp.array([0, 20])), r"in \[0, 19\], got values from 0 to 20"),
    "timesteps below": (lambda: base()(X, jnp.array([-1, 0])), r"in \[0, 19\], got values from -1 to 0"),
    "timesteps, float": (lambda: base()(X, jnp.array([0.5, 1])), "timesteps must be integers, got dtype float32"),
    "timesteps, many": (lambda: base()(X, jnp.zeros(3, int)), r"one a sample \(2,\), got shape \(3,\)"),
    "q_sample's t": (lambda: base().q_sample(X, jnp.array([20, 0])), r"timesteps must be in \[0, 19\]"),
    "q_sample's x_start": (lambda: base().q_sample(NAN, T), "x_start must be finite"),
    "q_sample's noise": (lambda: base().q_sample(X, T, INF), "noise must be finite"),
    "p_sample's t": (lambda: base().p_sample(X, X, jnp.array([-1, 0])), r"timesteps must be in \[0, 19\]"),
    "p_sample's model_output": (lambda: base().p_sample(NAN, X, T), "model_output must be finite"),
    "p_sample's x_t": (lambda: base().p_sample(X, INF, T), "x_t must be finite"),
    "predict_start's t": (lambda: base().predict_start_from_noise(X, T + 18, X), r"timesteps must be in \[0, 19\]"),
    "predict_start's noise": (lambda: base().predict_start_from_noise(X, T, NAN), "noise must be finite"),
    "the loss's noise": (
        lambda: base().loss_fn({"noise": X[:, :1]}, {"predicted_noise": X}),
        r"shape of the predicted one, \(2, 2\), got \(2, 1\)",
    ),
    "n_samples": (lambda: base().generate(0), "n_samples must be at least 1, got 0"),
    "backbone's shape": (lambda: wider()(X, T), r"an output of .*shape \(2, 2\).*, got \(2, 4\)"),
    "backbone's shape in a walk": (lambda: wider().generate(2), r"an output of .*shape \(2, 2\).*, got \(2, 4\)"),
    "rngs without a stream": (lambda: base().generate(rngs=nnx.Rngs(dropout=0)), "rngs must have a stream 'sample'"),
    "output_dim": (
        lambda: base().__class__(config().model_copy(update={"output_dim": 3}), network, rngs=nnx.Rngs(0)),
        r"output_dim must be input_dim = \(2,\) .* got 3",
    ),
    "forward_diffusion's t": (lambda: ddpm().forward_diffusion(X, T + 18), r"timesteps must be in \[0, 19\]"),
    "forward_diffusion's x": (lambda: ddpm().forward_diffusion(INF, T), "must be finite"),
    "denoise_step's t": (lambda: ddpm().denoise_step(X, T + 18, X), r"timesteps must be in \[0, 19\]"),
    "denoise_step's noise": (lambda: ddpm().denoise_step(X, T, NAN), "must be finite"),
    "scheduler": (lambda: ddpm().sample(1, anything("euler")), "scheduler must be 'ddpm' or 'ddim', got 'euler'"),
    "steps beyond": (lambda: ddpm().sample(1, steps=21), r"steps must be in \[1, 20\], got 21"),
    "steps below": (lambda: ddpm().sample(1, steps=0), r"steps must be in \[1, 20\], got 0"),
    "steps between": (
        lambda: ddpm().sample(1, steps=anything(2.5)),
        r"steps must be a whole number in \[1, 20\], got 2.5",
    ),
    "sample's shape": (lambda: ddpm().sample((3,)), r"a shape must be \(batch, ...\), got \(3,\)"),
    "sample's count": (lambda: ddpm().sample(-1), "n_samples must be at least 1, got -1"),
    "initial_noise's shape": (
        lambda: ddpm().sample(2, initial_noise=X[:1]),
        r"initial_noise must be of shape \(2, 2\), got \(1, 2\)",
    ),
    "initial_noise": (lambda: ddpm().sample(2, initial_noise=NAN), "must be finite, got NaN or infinity"),
    "ddim steps beyond": (lambda: ddim().ddim_sample(1, 21), r"steps must be in \[1, 20\], got 21"),
    "ddim steps below": (lambda: ddim().ddim_sample(1, 0), r"steps must be in \[1, 20\], got 0"),
    "nodes": (lambda: ddim().get_ddim_timesteps(21), r"steps must be in \[1, 20\], got 21"),
    "eta": (lambda: ddim().ddim_sample(1, 5, 1.5), r"eta must be in \[0, 1\], got 1.5"),
    "eta of a step": (lambda: ddim().ddim_step(X, T, T - 1, X, -0.1), r"eta must be in \[0, 1\], got -0.1"),
    "t_prev": (
        lambda: ddim().ddim_step(X, T, T, X),
        r"t_prev must be in \[-1, t\), got t = \[3 4\] and t_prev = \[3 4",
    ),
    "t_prev below": (lambda: ddim().ddim_step(X, T, T - 6, X), r"t_prev must be in \[-1, t\)"),
    "ddim_step's x_t": (lambda: ddim().ddim_step(NAN, T, T - 1, X), "must be finite"),
    "ddim_step's noise": (lambda: ddim().ddim_step(X, T, T - 1, INF), "must be finite"),
    "x0's rank": (lambda: ddim().ddim_reverse(X[None], 5), r"shape \(2,\) or a batch of that, got \(1, 2, 2\)"),
    "x0": (lambda: ddim().ddim_reverse(NAN, 5), "must be finite"),
    "inversion's steps": (lambda: ddim().ddim_reverse(X, 21), r"steps must be in \[1, 20\], got 21"),
    "score's t": (
        lambda: score().score(X, jnp.array([0.0, 1.5])),
        r"t must be in \[0, 1\], got values from 0.0 to 1.5",
    ),
    "score's x": (lambda: score().score(NAN, jnp.array([0.0, 1.0])), "x must be finite"),
    "score's rank": (lambda: score().score(X, jnp.ones((2, 1))), r"one a sample \(2,\), got shape \(2, 1\)"),
    "num_steps between": (
        lambda: score().sample(1, num_steps=anything(2.5)),
        "steps must be a whole number at least 1, got 2.5",
    ),
    "num_steps": (lambda: score().sample(1, num_steps=0), "steps must be at least 1, got 0"),
    "num_samples": (lambda: score().sample(0), "n_samples must be at least 1, got 0"),
    "labels beyond": (
        lambda: labeled().generate(2, conditioning=T),
        r"labels must be in \[0, 2\], got values from 3 to 4",
    ),
    "labels below": (
        lambda: labeled()(X, T, conditioning=T - 4),
        r"labels must be in \[0, 2\], got values from -1 to 0",
    ),
    "labels, float": (
        lambda: labeled().generate(2, conditioning=X[0]),
        r"labels must be integers of shape \(2,\), got",
    ),
    "labels, a list": (lambda: labeled().generate(2, conditioning=anything([0, 1])), "must be an array, got list"),
    "labels, many": (lambda: labeled().generate(1, conditioning=T % 3), r"each of 1 samples, got \(2,\)"),
    "labels to a model without": (lambda: ddpm().generate(2, conditioning=T), "cond must be None for a network"),
    "guidance_method": (lambda: steered(guidance_method="cfg"), "'classifier_free', 'classifier' or None, got 'cfg'"),
    "no classifier": (lambda: steered(guidance_method="classifier"), "classifier"),
    "a classifier too many": (lambda: steered(classifier=Judge(3)), "classifier"),
    "guidance_scale": (
        lambda: steered(guidance_method="classifier_free", guidance_scale=INFINITE),
        "scale must be one finite number, .* got inf",
    ),
    "scale of classifier-free guidance": (lambda: ClassifierFreeGuidance(INFINITE), "finite number, .* got inf"),
    "scale of classifier guidance": (lambda: ClassifierGuidance(Judge(3), -INFINITE), "finite number, .* got -inf"),
    "no condition": (lambda: steered(guidance_method="classifier_free").generate(2), "conditioning must be given"),
    "no label for a classifier": (
        lambda: steered(guidance_method="classifier", classifier=Judge(3)).generate(2, conditioning=None),
        "conditioning must be given, got None",
    ),
    "class_label missing": (lambda: ClassifierGuidance(Judge(3))(ddpm(), X, T), "class_label must be given"),
    "class_label beyond": (
        lambda: ClassifierGuidance(Judge(3), 1.0, 3)(ddpm(), X, T),
        r"in \[0, 2\], got values from 3",
    ),
    "classifier's shape": (
        lambda: ClassifierGuidance(Judge(None), 1.0, 1)(ddpm(), X, T),
        r"logits of shape \(2, classes\), got \(2,\)",
    ),
    "classifier's shape in a walk": (
        lambda: steered(guidance_method="classifier", classifier=Judge(None)).generate(2, conditioning=T - 3),
        r"logits of shape \(2, classes\), got \(2,\)",
    ),
    "labels of a classifier": (
        lambda: steered(guidance_method="classifier", classifier=Judge(3)).generate(2, conditioning=T),
        r"labels must be in \[0, 2\], got values from 3 to 4",
    ),
    "x of guidance": (lambda: ClassifierFreeGuidance(2.0)(labeled(), NAN, T, T - 3), "x must be finite"),
    "t of guidance": (
        lambda: ClassifierFreeGuidance(2.0)(labeled(), X, T + 18, T - 3),
        r"timesteps must be in \[0, 19\]",
    ),
    "labels of guidance": (lambda: ClassifierFreeGuidance(2.0)(labeled(), X, T, T), r"labels must be in \[0, 2\]"),
    "apply_guidance's shapes": (lambda: apply_guidance(X, X[:1], 2.0), r"got \(2, 2\) and \(1, 2\)"),
    "apply_guidance's scales": (lambda: apply_guidance(X, X, jnp.ones(3)), r"one a sample \(2,\), got shape \(3,\)"),
    "apply_guidance's outputs": (lambda: apply_guidance(X, {"x_t": X}, 2.0), r"'predicted_noise', got \['x_t'\]"),
    "the loss's outputs": (lambda: base().loss_fn({"noise": X}, {"x_t": X}), r"hold 'predicted_noise', got \['x_t'\]"),
    "a scale without labels": (
        lambda: dit().generate(1, rngs=nnx.Rngs(0), num_steps=2, cfg_scale=2.0),
        "y must be given",
    ),
    "a scale without labels, one step": (
        lambda: dit()(jnp.ones((1, 4, 4, 1)), T[:1], cfg_scale=2.0),
        "y must be given with cfg_scale, .* got cfg_scale=2.0",
    ),
    "apply_guidance's scale": (lambda: apply_guidance(X, X, float("nan")), "guidance_scale must be finite"),
    "total_steps": (lambda: linear_guidance_schedule(0, 0), "total_steps must be at least 1, got 0"),
    "step": (lambda: cosine_guidance_schedule(10, 10), r"step must be in \[0, 9\], got values from 10 to 10"),
    "guidance without labels": (
        lambda: labeled().generate(2, guidance=ClassifierFree(2.0)),
        "conditioning must be given, got None",
    ),
}
UNKNOWN: dict[str, tuple[Call, str]] = {
    "option": (lambda: ddpm().sample(1, **anything({"stepz": 3})), "unknown argument 'stepz'"),
    "option of generate": (lambda: ddpm().generate(1, **anything({"steps": 3})), "unknown argument 'steps'"),
    "option of the constructor": (
        lambda: DDPMModel(config(), rngs=nnx.Rngs(0), **anything({"backbone": network})),
        "unknown argument 'backbone'",
    ),
    "noise for the inversion": (lambda: ddim().ddim_reverse(X, 5, initial_noise=X), "it takes none"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OUT_OF_DOMAIN)
def test_a_value_out_of_its_domain(name: str) -> None:
    call, message = OUT_OF_DOMAIN[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_argument_that_nobody_knows(name: str) -> None:
    call, message = UNKNOWN[name]
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("value", ["many", 10.5, True, 0, None])
def test_noise_steps_of_the_wrong_kind(value: object) -> None:
    for kind in (DiffusionModel, DDPMModel, DDIMModel):
        with pytest.raises(ValueError, match="noise_steps"):
            cast("Any", kind)(config(noise_steps=value), backbone_fn=network, rngs=nnx.Rngs(0))
