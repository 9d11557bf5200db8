"""Timesteps of a chain reach the network as int32 of the right values from every method that calls it.

The networks here index an ``nnx.Embed`` and a table by timestep: floats raise an error in both.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import MLP, Backbone, DiT, DiTConfig, MLPConfig
from artifex.generative_models.models.diffusion import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DDIMModel,
    DDPMModel,
    DiffusionModel,
    DiTModel,
    GuidedDiffusionModel,
    LDMModel,
    ModelConfig,
    ScoreDiffusionModel,
    linear_guidance_schedule,
)
from artifex.guidance import (
    Autoguidance,
    CFGPlusPlus,
    ClassifierFree,
    Guidance,
    Interval,
    Loss,
    PerturbedAttention,
    SkipLayers,
)
from artifex.samplers import DDIM, DPM2, PNDM, Tableau, predictor_corrector, sample, with_corrector
from artifex.schedules import VP, Denoiser, Discrete, Epsilon, NetworkDenoiser, NoiseLevel, betas, grid
from artifex.schedules.arrays import HostArray
from artifex.schedules.time_samplers import DiscreteUniform, LowDiscrepancy, TimeSampler, Uniform
from artifex.training import Objective, Trainer, parse_config

pytestmark = pytest.mark.slow

State = nnx.State[Any, Any]
CHAIN: Final = 9
ALL: Final = set(range(CHAIN))
SEEN: list[np.ndarray[Any, Any]] = []
"""The times of all calls of a network, in no order."""


def note(t: Array) -> None:
    SEEN.append(np.asarray(t))


def seen_by(call: Callable[[], object]) -> set[int]:
    """The timesteps of all calls of a network, each a batch of int32."""
    SEEN.clear()
    call()
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert {t.dtype for t in SEEN} == {np.dtype(np.int32)}
    assert {t.ndim for t in SEEN} == {1}
    return {int(step) for t in SEEN for step in t}


class Looking(nnx.Module):
    """Noise from a table indexed by timestep, plus that of an inner network."""

    def __init__(self, out: int, within: Backbone | None = None, *, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(CHAIN, out, rngs=rngs)
        self.labels = nnx.Embed(3, out, rngs=rngs)
        self.table = nnx.Variable(jnp.linspace(0, 1, CHAIN))
        self.within = within

    def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
        jax.debug.callback(note, t)
        noise = self.embed(t) + self.table[...][t][:, None]
        noise = noise if cond is None else noise + self.labels(cond)
        noise = noise.reshape(len(x), *(1,) * (x.ndim - 2), -1) + jnp.zeros_like(x[..., :1])
        return noise if self.within is None else noise + self.within(x, t, cond)


class Looked(nnx.Module):
    """Logits from a table indexed by timestep."""

    def __init__(self) -> None:
        self.embed = nnx.Embed(CHAIN, 2, rngs=nnx.Rngs(0))

    def __call__(self, x: Array, t: Array) -> Array:
        jax.debug.callback(note, t)
        return self.embed(t) * jnp.mean(x.reshape(len(x), -1), axis=1, keepdims=True)


def looking(config: ModelConfig, *, rngs: nnx.Rngs) -> Looking:
    learned = bool(config.parameters.get("learn_sigma"))
    return Looking((1 + learned) * config.input_dim[-1], rngs=rngs)


def around_dit(config: ModelConfig, *, rngs: nnx.Rngs) -> Looking:
    inner = DiTConfig(in_channels=1, patch=2, hidden=8, depth=1, heads=2, num_classes=2, learn_sigma=False)
    return Looking(1, DiT(inner, rngs=rngs), rngs=rngs)


def of(kind: str, shape: tuple[int, ...] = (2,), **parameters: object) -> ModelConfig:
    given = {"noise_steps": CHAIN, "num_classes": 2, **parameters}
    return ModelConfig(name="chain", model_class=kind, input_dim=shape, parameters=given)


def rngs() -> nnx.Rngs:
    return nnx.Rngs(1)


IMAGE: Final = (4, 4, 1)
X, IMAGES = jnp.ones((2, 2)), jnp.ones((2, *IMAGE))
T, Y = jnp.asarray([4, 1]), jnp.asarray([0, 1])
HERE: Final = {1, 4}


@cache
def base() -> DiffusionModel:
    return DiffusionModel(of("DiffusionModel"), looking, rngs=rngs())


@cache
def ddpm() -> DDPMModel:
    return DDPMModel(of("DDPMModel"), backbone_fn=looking, rngs=rngs())


@cache
def ddim() -> DDIMModel:
    return DDIMModel(of("DDIMModel", ddim_steps=3), backbone_fn=looking, rngs=rngs())


@cache
def ldm() -> LDMModel:
    return LDMModel(of("LDMModel"), backbone_fn=looking, rngs=rngs())


@cache
def dit() -> DiTModel:
    return DiTModel(of("DiTModel", IMAGE), backbone_fn=looking, rngs=rngs())


@cache
def transformer() -> DiTModel:
    return DiTModel(of("DiTModel", IMAGE), backbone_fn=around_dit, rngs=rngs())


@cache
def learned() -> DiTModel:
    return DiTModel(of("DiTModel", IMAGE, learn_sigma=True), backbone_fn=looking, rngs=rngs())


@cache
def free() -> GuidedDiffusionModel:
    return GuidedDiffusionModel(of("x"), looking, rngs=rngs(), guidance_method="classifier_free", guidance_scale=2.0)


@cache
def by_step() -> GuidedDiffusionModel:
    return GuidedDiffusionModel(
        of("x"), looking, rngs=rngs(), guidance_method="classifier_free", guidance_scale=linear_guidance_schedule
    )


@cache
def towards() -> GuidedDiffusionModel:
    return GuidedDiffusionModel(
        of("x"), looking, rngs=rngs(), guidance_method="classifier", guidance_scale=2.0, classifier=Looked()
    )


def weaker() -> NetworkDenoiser[Any, Any]:
    graphdef, state = nnx.split(looking(of("x", IMAGE), rngs=rngs()))
    return NetworkDenoiser(lambda state, x, t, cond: nnx.merge(graphdef, state)(x, t, cond), Epsilon(), state)


def guided(guidance: Guidance[Array], model: DiTModel | None = None) -> object:
    return (model or dit()).generate(2, rngs=rngs(), num_steps=3, y=Y, guidance=guidance)


WALKED: Final = {8, 5, 2}
"""Three of nine steps, by ``grid.trailing``."""
CALLS: Final[dict[str, tuple[Callable[[], object], set[int]]]] = {
    "base: call": (lambda: base()(X, T), HERE),
    "base: call with one step": (lambda: base()(X, jnp.asarray(3)), {3}),
    "base: call in training": (lambda: base()(X, T, training=True, conditioning=Y), HERE),
    "base: call of int8": (lambda: base()(X, T.astype(jnp.int8)), HERE),
    "base: generate": (lambda: base().generate(2, rngs=rngs()), ALL),
    "ddpm: call": (lambda: ddpm()(X, T), HERE),
    "ddpm: sample": (lambda: ddpm().sample(2, rngs=rngs()), ALL),
    "ddpm: sample in fewer steps": (lambda: ddpm().sample(2, steps=3, rngs=rngs()), WALKED),
    "ddpm: sample by DDIM": (lambda: ddpm().sample((2, 2), "ddim", 2, rngs=rngs()), {8, 3}),
    "ddim: sample": (lambda: ddim().ddim_sample(2, 3, rngs=rngs()), WALKED),
    "ddim: sample with noise": (lambda: ddim().ddim_sample(2, 3, 1.0, rngs=rngs(), conditioning=Y), WALKED),
    "ddim: generate": (lambda: ddim().generate(2, rngs=rngs()), WALKED),
    "ddim: reverse": (lambda: ddim().ddim_reverse(X, 3), WALKED),
    "ldm: call": (lambda: ldm()(X, T), HERE),
    "ldm: sample": (lambda: ldm().sample(2, rngs=rngs()), ALL),
    "ldm: trajectory": (lambda: ldm().sample(2, rngs=rngs(), return_trajectory=True), ALL),
    "dit: call": (lambda: dit()(IMAGES, T, Y, deterministic=True, cfg_scale=2.0), HERE),
    "dit: call in training": (lambda: dit()(IMAGES, T, Y), HERE),
    "dit: generate": (lambda: dit().generate(2, rngs=rngs(), num_steps=3, y=Y, cfg_scale=2.0), WALKED),
    "dit: learned variance": (lambda: learned().generate(2, rngs=rngs(), num_steps=3), WALKED),
    "dit: loss of a learned variance": (
        lambda: learned().loss_fn({"x": IMAGES}, learned().outputs(IMAGES, T, Y)),
        HERE,
    ),
    "classifier-free": (lambda: free().generate(2, conditioning=Y, rngs=rngs()), ALL),
    "classifier-free by the step": (lambda: by_step().generate(2, conditioning=Y, rngs=rngs()), ALL),
    "classifier-free: call": (lambda: ClassifierFreeGuidance(2.0)(free(), X, T, Y), HERE),
    "classifier": (lambda: towards().generate(2, conditioning=Y, rngs=rngs()), ALL),
    "classifier: call": (lambda: ClassifierGuidance(Looked(), 2.0)(base(), X, T, class_label=1), HERE),
    "autoguidance": (lambda: guided(Autoguidance(2.0, weaker())), WALKED),
    "CFG++": (lambda: guided(ClassifierFree(CFGPlusPlus(0.5), jnp.asarray(2))), WALKED),
    "an interval": (lambda: guided(ClassifierFree(Interval(2.0, 0.01, 1.0), jnp.asarray(2))), WALKED),
    "a loss": (lambda: guided(Loss(lambda x: jnp.sum(x**2, axis=(1, 2, 3)))), WALKED),
    "perturbed attention": (lambda: guided(PerturbedAttention(("within.blocks.0",)), transformer()), WALKED),
    "skipped layers": (lambda: guided(SkipLayers(("within.blocks.0",)), transformer()), WALKED),
}


@pytest.mark.parametrize("name", CALLS)
def test_models(name: str) -> None:
    call, steps = CALLS[name]
    assert seen_by(call) == steps


def test_models_in_jit() -> None:
    call, sampled = nnx.jit(lambda m, t: m(X, t)["predicted_noise"]), nnx.jit(lambda m: m.ddim_sample(2, 3))
    assert seen_by(lambda: call(base(), T)) == HERE
    assert seen_by(lambda: sampled(ddim())) == WALKED


def test_models_in_64_bits() -> None:
    model, walked = base(), ddim()  # made in 32 bits
    with jax.enable_x64(True):
        assert jnp.asarray([4, 1]).dtype == jnp.int64
        assert seen_by(lambda: model(X, jnp.asarray([4, 1]))) == HERE
        assert seen_by(lambda: walked.ddim_sample(2, 4, rngs=rngs())) == {8, 6, 3, 1}


SCHEDULE = Discrete(betas.linear(CHAIN))
TRAILING = grid.trailing(CHAIN, 3)


def denoiser(dtype: str | None = None) -> NetworkDenoiser[Any, Any]:
    """A network of table and MLP, or with a dtype of an MLP alone whose times are cast to it."""
    within = MLP(MLPConfig(features=2, hidden=8, depth=1), rngs=rngs())
    graphdef, state = nnx.split(within if dtype else Looking(2, within, rngs=rngs()))

    def apply(state: State, x: Array, t: Array, cond: None) -> Array:
        out: Array = nnx.merge(graphdef, state)(x, t.astype(dtype or t.dtype), cond)
        return out

    return NetworkDenoiser(apply, Epsilon(), state)


def walk(tableau: Tableau[HostArray]) -> object:
    return sample(denoiser(), tableau, X, jax.random.key(0))


def plain(x_t: Array, level: NoiseLevel[Array]) -> Array:
    jax.debug.callback(note, level.t)
    return x_t * jnp.linspace(0, 1, CHAIN)[level.t][:, None]


SAMPLED: Final[dict[str, tuple[Callable[[], object], set[int]]]] = {
    "ddim": (lambda: walk(DDIM().tableau(SCHEDULE, TRAILING)), WALKED),
    "times of one's own": (lambda: walk(DDIM().tableau(SCHEDULE, np.array([4.0, 2.0, -1.0]))), {4, 2}),
    "a warm-up halfway between whole steps": (
        lambda: walk(PNDM(warmup="runge-kutta").tableau(SCHEDULE, np.array([8.0, 6.0, 4.0, 2.0, 0.0]))),
        {8, 7, 6, 5, 4, 3, 2},
    ),
    "corrections": (lambda: walk(with_corrector(DDIM(1.0).tableau(SCHEDULE, TRAILING))), WALKED),
    "corrections of measured size": (
        lambda: predictor_corrector(denoiser(), DDIM(1.0).tableau(SCHEDULE, TRAILING), X, jax.random.key(0)),
        WALKED,
    ),
    "a plain function": (lambda: sample(plain, DDIM().tableau(SCHEDULE, TRAILING), X), WALKED),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_samplers(name: str) -> None:
    call, steps = SAMPLED[name]
    assert seen_by(call) == steps


def test_same_bits_as_with_floats() -> None:
    tableau = DDIM(1.0).tableau(SCHEDULE, TRAILING)
    got, want = (sample(denoiser(dtype), tableau, X, jax.random.key(0)) for dtype in ("int32", "float32"))
    np.testing.assert_array_equal(got, want)
    level, other = SCHEDULE.at(T), SCHEDULE.at(T.astype(jnp.float32))
    np.testing.assert_array_equal(level.alpha, other.alpha)
    np.testing.assert_array_equal(level.sigma, other.sigma)


def floats(times: Sequence[float], tableau: Tableau[HostArray]) -> None:
    """Assert that sampling along ``tableau`` calls networks at these times in float32."""
    SEEN.clear()

    def denoise(x_t: Array, level: NoiseLevel[Array]) -> Array:
        jax.debug.callback(note, level.t)
        return x_t

    sample(denoise, tableau, X)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert {t.dtype for t in SEEN} == {np.dtype(np.float32)}
    np.testing.assert_allclose(sorted((t[0] for t in SEEN), reverse=True), times, rtol=1e-6)


def test_times_that_are_real_stay_floats() -> None:
    floats([5, 2.5, 0], DDIM().tableau(SCHEDULE, np.array([5, 2.5, 0, -1])))
    floats([8, 16 / 3, 8 / 3, 0], DDIM().tableau(SCHEDULE, grid.linspace(CHAIN, 4, whole=False)))
    floats([1.0, 0.5], DDIM().tableau(VP(), np.array([1.0, 0.5, 0.0])))
    # integer times of a schedule without a chain
    floats([1.0], DDIM().tableau(VP(), np.array([1.0, 0.0])))
    half = SCHEDULE.inverse_logsnr(np.array([SCHEDULE.at(np.array([5.0, 3.0])).logsnr.mean()]))
    floats([5, half[0]], DPM2().tableau(SCHEDULE, np.array([5.0, 3.0])))


def test_the_score_model_has_real_times() -> None:
    calls: list[Any] = []

    class Listening(nnx.Module):
        def __call__(self, x: Array, t: Array, cond: Array | None = None, *, deterministic: bool = True) -> Array:
            calls.append(t)
            return x

    model = ScoreDiffusionModel(of("x"), backbone_fn=lambda config, rngs: Listening(), rngs=rngs())
    model(X, jnp.asarray([5, 2]))
    model(X, jnp.asarray([1.0, 0.5]))
    for t, want in zip(calls, ([624.375, 249.75], [999, 499.5]), strict=True):
        assert t.dtype == jnp.float32
        np.testing.assert_allclose(t, want, rtol=1e-6)


@pytest.mark.parametrize("times", [None, DiscreteUniform(CHAIN), LowDiscrepancy(DiscreteUniform(CHAIN))])
def test_training(times: TimeSampler | None) -> None:
    objective = Objective(SCHEDULE, Epsilon(), num_classes=2, times=times)
    network = Looking(2, rngs=rngs())

    def loss(network: Looking, key: Array) -> Array:
        return objective.loss(network, jnp.ones((64, 2)), jnp.zeros(64, jnp.int32), key)

    step = nnx.jit(nnx.value_and_grad(loss))
    assert seen_by(lambda: step(network, jax.random.key(0))) == ALL


def test_training_at_real_times() -> None:
    objective = Objective(SCHEDULE, Epsilon(), times=Uniform(0, CHAIN - 1))
    with pytest.raises(ValueError, match="must be an integer"):
        objective.loss(Looking(2, rngs=rngs()), X, None, jax.random.key(0))


def test_the_trainer() -> None:
    config = parse_config(
        f"""
        data: {{kind: toy, name: moons, size: 64}}
        schedule: {{kind: discrete, steps: {CHAIN}}}
        steps: 2
        batch_size: 64
        """
    )
    trainer = Trainer(config, network=Looking(2, rngs=rngs()))
    assert seen_by(lambda: trainer.fit().state.parameters) == ALL
    trained = trainer.fit()
    walked: Denoiser = trained.denoiser
    assert seen_by(lambda: sample(walked, DDIM().tableau(trainer.objective.schedule, TRAILING), X)) == WALKED
