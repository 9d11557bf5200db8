"""One compiled loop: compiled once per shape, usable in a user's jit, its memory constant in the steps."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.generative_models.models.diffusion import (
    DDIMModel,
    DDPMModel,
    DiffusionModel,
    DiTModel,
    GuidedDiffusionModel,
    LDMModel,
    ModelConfig,
    ScoreDiffusionModel,
)
from artifex.guidance import ClassifierFree

pytestmark = pytest.mark.slow


class Counting(nnx.Module):
    """A network that counts how often it is traced."""

    def __init__(self, traces: list[int]) -> None:
        self.factor = nnx.Param(jnp.full((), 0.1))
        self.note = traces.append

    def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
        self.note(1)
        shift = 0.0 if cond is None else 0.01 * cond.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
        return self.factor[...] * x + shift


TRACES: list[int] = []
CONFIG = {"name": "cost", "input_dim": (3,)}
BY_LABEL = {"noise_steps": 20, "num_classes": 4}


def network(config: ModelConfig, *, rngs: nnx.Rngs) -> Counting:
    return Counting(TRACES)


def config(kind: str, **parameters: object) -> ModelConfig:
    return ModelConfig(name="cost", model_class=kind, input_dim=(3,), parameters={"noise_steps": 20, **parameters})


@cache
def ddpm() -> DDPMModel:
    return DDPMModel(config("DDPMModel", num_classes=4), backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def ddim() -> DDIMModel:
    return DDIMModel(config("DDIMModel", num_classes=4, ddim_steps=5), backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def score() -> ScoreDiffusionModel:
    return ScoreDiffusionModel(config=config("ScoreDiffusionModel"), backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def latent() -> LDMModel:
    return LDMModel(config=config("LDMModel", latent_dim=2, num_classes=4), backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def dit() -> DiTModel:
    images = config("DiTModel", num_classes=4).model_copy(update={"input_dim": (4, 4, 1)})
    return DiTModel(images, backbone_fn=network, rngs=nnx.Rngs(0))


@cache
def guided() -> GuidedDiffusionModel:
    options = config("GuidedDiffusionModel", num_classes=4)
    return GuidedDiffusionModel(options, network, rngs=nnx.Rngs(0), guidance_method="classifier_free")


MODELS: tuple[Callable[[], DiffusionModel[Any]], ...] = (ddpm, ddim, score, latent, dit, guided)

METHODS: dict[str, Callable[[int, int], Array]] = {
    "generate": lambda n, seed: ddpm().generate(n, rngs=nnx.Rngs(seed)),
    "generate, guided": lambda n, seed: ddpm().generate(
        n, rngs=nnx.Rngs(seed), conditioning=jnp.full(n, seed % 4), guidance=ClassifierFree(1.5 + seed)
    ),
    "sample": lambda n, seed: ddpm().sample(n, steps=7, rngs=nnx.Rngs(seed), conditioning=jnp.full(n, seed % 4)),
    "ddim_sample": lambda n, seed: ddim().ddim_sample(n, eta=0.1 + 0.1 * seed, rngs=nnx.Rngs(seed)),
    "ddim_sample, own rngs": lambda n, seed: ddim().ddim_sample(n),
    "ddim_reverse": lambda n, seed: ddim().ddim_reverse(jnp.full((n, 3), 0.1 * seed), 5),
    "score's sample": lambda n, seed: score().sample(n, num_steps=6, rngs=nnx.Rngs(seed)),
    "latent sample": lambda n, seed: latent().sample(n, rngs=nnx.Rngs(seed), conditioning=jnp.full(n, seed % 4)),
    "DiT's generate": lambda n, seed: dit().generate(
        n, rngs=nnx.Rngs(seed), num_steps=7, y=jnp.full(n, seed % 4), cfg_scale=1.5 + seed
    ),
    "guided generate": lambda n, seed: guided().generate(n, rngs=nnx.Rngs(seed), conditioning=jnp.full(n, seed % 4)),
}


@pytest.mark.parametrize("name", METHODS)
def test_compiles_once_for_each_shape(name: str) -> None:
    """Other keys, labels, scales, eta, data or parameters reuse compiled code; another batch does not."""
    method = METHODS[name]
    first = method(2, 1)
    before = len(TRACES)
    assert before
    second = method(2, 2)
    for model in MODELS:
        model().backbone.factor[...] = 0.2  # type: ignore[attr-defined]
    third = method(2, 2)
    assert len(TRACES) == before
    assert float(jnp.abs(first - second).max()) > 1e-4
    if "own" not in name:
        assert float(jnp.abs(second - third).max()) > 1e-4
    method(3, 1)
    assert len(TRACES) > before
    for model in MODELS:
        model().backbone.factor[...] = 0.1  # type: ignore[attr-defined]


def test_another_step_count_compiles_again_and_both_are_kept() -> None:
    ddim().ddim_sample(2, 8)
    before = len(TRACES)
    ddim().ddim_sample(2, 9)
    assert len(TRACES) > before
    before = len(TRACES)
    ddim().ddim_sample(2, 8)
    ddim().ddim_sample(2, 9)
    assert len(TRACES) == before


@pytest.mark.parametrize("name", [name for name in METHODS if "own" not in name])
def test_works_inside_the_users_jit(name: str) -> None:
    """All arguments but the caller's key are constants of the jit."""
    method = METHODS[name]
    inside = jax.jit(lambda seed: method(2, 1) + 0 * seed)(0.0)
    np.testing.assert_allclose(inside, method(2, 1), atol=1e-5)


def test_works_inside_nnx_jit_and_advances_the_models_stream() -> None:
    @nnx.jit
    def draw(model: DDIMModel, labels: Array) -> Array:
        return model.ddim_sample(2, conditioning=labels)

    def fresh() -> DDIMModel:
        return DDIMModel(ddim().config, backbone_fn=network, rngs=nnx.Rngs(4))

    model, same, eager = fresh(), fresh(), fresh()
    labels = jnp.array([0, 3])
    a, b = draw(model, labels), draw(model, labels)
    assert float(jnp.abs(a - b).max()) > 1e-3
    np.testing.assert_array_equal(draw(same, labels), a)
    np.testing.assert_allclose(eager.ddim_sample(2, conditioning=labels), a, atol=1e-5)


@pytest.mark.parametrize("guided", [False, True])
def test_memory_is_flat_in_the_steps(guided: bool) -> None:
    """Ten times the steps take less than one more state of memory; a stored trajectory would take 180."""
    long = DDPMModel(config("DDPMModel", noise_steps=200, num_classes=4), backbone_fn=network, rngs=nnx.Rngs(0))
    shape = (512, 3)

    def temporary(steps: int) -> int:
        def walk(key: Array) -> Array:
            if not guided:
                return long.sample(shape, steps=steps, rngs=nnx.Rngs(key))
            labels = jnp.zeros(shape[0], jnp.int32)
            guidance: ClassifierFree[Array] = ClassifierFree(2.0)
            return long.sample(shape, steps=steps, rngs=nnx.Rngs(key), conditioning=labels, guidance=guidance)

        analysis = jax.jit(walk).lower(jax.random.key(0)).compile().memory_analysis()
        assert analysis is not None
        return int(analysis.temp_size_in_bytes)

    few, many = temporary(20), temporary(200)
    assert few > 0
    assert many - few < 512 * 3 * 4
