"""Does it learn? Distributions in the plane, a batch by heart, and whatever a configuration can combine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.backbones import MLP, MLPConfig
from artifex.schedules import Discrete, NetworkDenoiser, NoiseLevel, Prediction, Schedule, V, betas
from artifex.schedules.arrays import HostArray, T
from artifex.schedules.time_samplers import TimeSampler
from artifex.training import Network, Objective, RunConfig, init_state, make_train_step
from artifex.training.config.optimizer import OptimizerConfig, make_optimizer
from artifex.training.config.predictions import PredictionName
from artifex.training.config.sampling import SamplingConfig
from artifex.training.config.schedules import ScheduleConfig
from artifex.training.config.weights import WeightConfig
from artifex.training.config.yaml import parse_config
from artifex.training.data import ToyName, toy_points
from artifex.training.ema import PowerEMA
from artifex.training.evaluation import Features, sliced_wasserstein
from artifex.training.run.sampling import SampleGenerator
from artifex.training.section import kind, models

pytestmark = pytest.mark.slow

TOYS: tuple[ToyName, ...] = ("moons", "spirals", "checkerboard")
STEPS, COUNT = 800, 2000
BAR = 2.0
"""Sliced Wasserstein distance of samples to real points, in distances of two real sets of as many points. A normal
distribution of the data's mean and covariance has 5 to 8."""

X = Float[Array, "b 2"]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return sliced_wasserstein(Features.of("points", a), Features.of("points", b), directions=128).value


@pytest.fixture(scope="module")
def drawn() -> dict[ToyName, np.ndarray]:
    """Samples of three networks, trained side by side in one compiled scan of the toolkit's own step."""
    config = parse_config("{data: {kind: toy}, schedule: edm, prediction: edm, backbone: {kind: mlp}}")
    objective, average = config.build_objective(None), PowerEMA((0.1,))
    network = Network(MLP(MLPConfig(hidden=64, depth=2), rngs=nnx.Rngs(0)))
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=20), STEPS)
    step = make_train_step(network, objective, optimizer, average)

    def fit(points: Float[Array, "n 2"], key: Array) -> Any:  # noqa: ANN401 -- parameters of any network
        def one(state: Any, k: Int[Array, ""]) -> tuple[Any, None]:  # noqa: ANN401
            rows = jax.random.randint(jax.random.fold_in(key, k), (256,), 0, len(points))
            return step(state, points[rows], jnp.zeros(256, jnp.int32))[0], None

        first = init_state(network, optimizer, average, STEPS)
        return average.read(jax.lax.scan(one, first, jnp.arange(STEPS))[0].average)

    points = jnp.stack([toy_points(name, 20_000).x for name in TOYS])
    fitted = jax.jit(jax.vmap(fit))(points, jax.random.split(jax.random.key(0), len(TOYS)))
    sampling = SamplingConfig(sampler="dpmpp_2m", steps=20)
    drawing = SampleGenerator.from_config(sampling, config.schedule, (2,), None)
    out: dict[ToyName, np.ndarray] = {}
    for i, name in enumerate(TOYS):
        denoiser = NetworkDenoiser(network.apply, objective.prediction, jax.tree.map(lambda leaf: leaf[i], fitted))  # noqa: B023
        out[name] = np.concatenate(list(drawing.draw(denoiser, COUNT, None, jax.random.key(1), COUNT)))
    return out


@pytest.mark.parametrize("name", TOYS)
def test_toys_are_learned(name: ToyName, drawn: dict[ToyName, np.ndarray]) -> None:
    real = [toy_points(name, COUNT, seed).x for seed in range(1, 6)]
    floor = np.mean([distance(a, b) for a, b in zip(real[1:], real, strict=False)])
    normal = np.random.default_rng(0).multivariate_normal(real[0].mean(0), np.cov(real[0].T), COUNT)
    assert distance(drawn[name], real[0]) < BAR * floor
    assert distance(normal, real[0]) > 4 * floor


def test_one_batch_is_learned_by_heart() -> None:
    """With fixed draws the 16 inputs $(x_t, t)$ all differ, and some function goes through their 16 targets: the loss
    has no floor. With fresh draws it has one, the variance of the target given $x_t$, that no network goes below."""
    objective = Objective(Discrete(betas.cosine(1000)), V())
    network = Network(MLP(MLPConfig(hidden=64, depth=2), rngs=nnx.Rngs(0)))
    x0 = jnp.asarray(toy_points("spirals", 16).x)
    fixed = objective.draw(x0, None, jax.random.key(0))
    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, 300))

    @jax.jit
    def fit() -> tuple[Float[Array, " steps"], Float[Array, ""]]:
        def loss(parameters: Any) -> Array:  # noqa: ANN401
            return jnp.mean(objective.losses(partial(network.apply, parameters), x0, fixed))

        def one(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], Array]:
            value, gradient = jax.value_and_grad(loss)(state[0])
            updates, inner = optimizer.update(gradient, state[1], state[0])
            return (optax.apply_updates(state[0], updates), inner), value

        first = network.parameters, optimizer.init(network.parameters)
        (last, _), losses = jax.lax.scan(one, first, None, length=300)
        return losses, objective.loss(partial(network.apply, last), x0, None, jax.random.key(1))

    losses, fresh = fit()
    assert losses[-1] < 1e-5 * losses[0]
    assert fresh > 1e3 * losses[-1]


class Choice(NamedTuple):
    """Places in the lists of what is chosen between."""

    schedule: int
    prediction: int
    weight: int


@dataclass(frozen=True)
class OneOf:
    """Schedule, prediction, times and weight of one combination, chosen while the compiled step runs."""

    among: "Parts"
    choice: Choice

    def at(self, t: T) -> NoiseLevel[T]:
        out: NoiseLevel[T] = jax.lax.switch(self.choice.schedule, [s.at for s in self.among.schedules], t)
        return out

    def inverse_logsnr(self, logsnr: T) -> T:
        raise NotImplementedError

    def times(self, steps: int) -> HostArray:
        raise NotImplementedError

    def draw_times(self, key: Array, batch: int) -> Float[Array, " b"]:
        def real(key: Array, times: TimeSampler) -> Array:
            """Branches of one type: the times of chains are whole numbers."""
            return times(key, batch).astype(jnp.float32)

        out: Array = jax.lax.switch(self.choice.schedule, [partial(real, times=t) for t in self.among.times], key)
        return out

    def weight(self, level: NoiseLevel[Array]) -> Float[Array, " b"]:
        out: Array = jax.lax.switch(self.choice.weight, self.among.weights, level)
        return out


@dataclass(frozen=True)
class OnePrediction(Prediction):
    among: "Parts"
    choice: Choice

    def inputs(self, x_t: X, level: NoiseLevel[Array]) -> tuple[X, Float[Array, " b"]]:
        out: tuple[X, Array] = jax.lax.switch(
            self.choice.prediction, [p.inputs for p in self.among.predictions], x_t, level
        )
        return out

    def target(self, x0: X, eps: X, level: NoiseLevel[Array]) -> X:
        out: X = jax.lax.switch(self.choice.prediction, [p.target for p in self.among.predictions], x0, eps, level)
        return out

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[Array]) -> X:
        raise NotImplementedError

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[Array]) -> X:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Parts:
    schedules: Sequence[Schedule]
    times: Sequence[TimeSampler]
    predictions: Sequence[Prediction]
    weights: Sequence[Callable[[NoiseLevel[Array]], Array]]


def named(schedule: str, prediction: str, weight: str) -> RunConfig:
    return parse_config(
        f"{{data: {{kind: toy}}, backbone: {{kind: mlp}}, schedule: {{kind: {schedule}}}, prediction: {prediction}, "
        f"weight: {{kind: {weight}}}}}"
    )


def test_every_combination_trains() -> None:
    """Prediction by schedule by weight, in one compiled program: on a batch with fixed draws the loss falls."""
    schedules, weights = ([kind(model) or "" for model in models(union)] for union in (ScheduleConfig, WeightConfig))
    configs = {(s, p, w): named(s, p, w) for s in schedules for p in get_args(PredictionName) for w in weights}
    objectives = {names: config.build_objective(None) for names, config in configs.items()}
    assert len(objectives) == 7 * 6 * 8
    predictions = list(dict.fromkeys(objective.prediction for objective in objectives.values()))
    weighings = {(p, w): objectives[schedules[0], p, w].weight or ones for _, p, w in configs}
    by_schedule = [objectives[s, "v", "unit"] for s in schedules]
    parts = Parts(
        [objective.schedule for objective in by_schedule],
        [objective.times for objective in by_schedule if objective.times is not None],
        predictions,
        list(weighings.values()),
    )
    network = Network(MLP(MLPConfig(hidden=16, depth=1), rngs=nnx.Rngs(0)))
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=0, schedule="constant"), 20)
    x0, key = jnp.asarray(toy_points("moons", 64).x), jax.random.key(0)

    @jax.jit
    def fit(choice: Choice) -> tuple[Float[Array, " steps"], Float[Array, " steps"]]:
        one_of = OneOf(parts, choice)
        objective = Objective(one_of, OnePrediction(parts, choice), times=one_of.draw_times, weight=one_of.weight)

        def loss(parameters: Any) -> Array:  # noqa: ANN401
            return objective.loss(partial(network.apply, parameters), x0, None, key)

        def one(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], tuple[Array, Array]]:
            value, gradient = jax.value_and_grad(loss)(state[0])
            updates, inner = optimizer.update(gradient, state[1], state[0])
            return (optax.apply_updates(state[0], updates), inner), (value, optax.tree.norm(gradient))

        first = network.parameters, optimizer.init(network.parameters)
        out: tuple[Array, Array] = jax.lax.scan(one, first, None, length=20)[1]
        return out

    wrong, first = {}, dict[tuple[str, str, str], float]()
    for names, objective in objectives.items():
        s, p, w = names
        choice = Choice(schedules.index(s), predictions.index(objective.prediction), list(weighings).index((p, w)))
        losses, norms = (np.asarray(a) for a in fit(choice))
        first[names] = float(losses[0])
        if not (
            np.isfinite(losses).all() and np.isfinite(norms).all() and norms[0] > 0 and losses[-1] < 0.99 * losses[0]
        ):
            wrong[names] = losses[0], losses[-1], norms[0]
    assert wrong == {}
    # The program is the objective that the configuration names, and not another.
    some = [(s, get_args(PredictionName)[i % 6], weights[i + 1]) for i, s in enumerate(schedules)]

    @jax.jit
    def alone() -> list[Float[Array, ""]]:
        apply = partial(network.apply, network.parameters)
        return [objectives[names].loss(apply, x0, None, key) for names in some]

    for names, expected in zip(some, alone(), strict=True):
        assert np.isclose(first[names], expected, rtol=1e-4), names


def ones(level: NoiseLevel[Array]) -> Float[Array, " b"]:
    return jnp.ones_like(level.alpha)
