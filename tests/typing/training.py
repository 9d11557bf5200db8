"""The types that users of training rely on; this file is checked and never run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, assert_type

import jax
import optax
from flax import nnx
from jaxtyping import Array, Float

from artifex.schedules import Discrete, NetworkDenoiser, V, betas
from artifex.training import (
    BackboneConfig,
    Batch,
    Batches,
    Digits,
    Every,
    Learner,
    Network,
    Objective,
    OptimizerConfig,
    Report,
    RunConfig,
    Toy,
    Trained,
    Trainer,
    TrainingConfig,
    TrainState,
    make_train_step,
    parse_config,
    read_config,
    train,
)
from artifex.training.config import RectifiedFlowSchedule
from artifex.training.step.train_step import StepMetrics


class OwnNetwork(nnx.Module):
    """A user's network."""

    def __call__(
        self, x: Array, t: Float[Array, " b"], cond: Array | None = None, *, deterministic: bool = True
    ) -> Array:
        return x


class OwnBatches:
    """A user's data."""

    @property
    def skipped(self) -> tuple[str, ...]:
        return ()

    def __next__(self) -> Batch:
        raise StopIteration

    def state(self) -> dict[str, object]:
        return {}

    def restore(self, state: Mapping[str, object]) -> None: ...

    def close(self) -> None: ...


class OwnAverage:
    """A user's average: the first parameters."""

    def init(self, parameters: nnx.State[Any, Any]) -> nnx.State[Any, Any]:
        return parameters

    def update(
        self, average: nnx.State[Any, Any], parameters: nnx.State[Any, Any], k: Array | int
    ) -> nnx.State[Any, Any]:
        return average

    def read(self, average: nnx.State[Any, Any]) -> nnx.State[Any, Any]:
        return average


def configurations(path: Path) -> None:
    config = RunConfig(
        data=Digits(),
        backbone=BackboneConfig(kind="dit", preset="s_2"),
        schedule=RectifiedFlowSchedule(shift=3.0),
        prediction="flow_velocity",
        optimizer=OptimizerConfig(name="lion", learning_rate=1e-4),
        steps=100,
    )
    RunConfig(data=Toy(), prediction="noise")  # type: ignore[arg-type]
    RunConfig(steps=100)  # type: ignore[call-arg]
    assert_type(config.optimizer, OptimizerConfig)
    assert_type(parse_config("data: digits", ["steps=3"]), RunConfig)
    assert_type(read_config(path), RunConfig)


def trainers(config: RunConfig, path: Path, stop: Callable[[], bool]) -> None:
    def watch(report: Report) -> None:
        assert_type(report.loss, float)

    def look(state: TrainState) -> None:
        assert_type(state.step, Array)

    trained = Trainer(config, path).fit(callback=watch, every=[Every(100, look)], stop=stop)
    assert_type(trained, Trained)
    assert_type(trained.losses, Array)
    assert_type(trained.module, nnx.Module)
    assert_type(trained.denoiser, NetworkDenoiser[nnx.State[Any, Any], Array])
    assert_type(Trainer.from_folder(path).fit(resume=True), Trained)
    Trainer(config, network=OwnNetwork(), optimizer=optax.sgd(1.0), average=OwnAverage())


def parts(x: Array, labels: Array, state: TrainState) -> None:
    objective = Objective(Discrete(betas.cosine(100)), V())
    batches: Batches = OwnBatches()
    trained = train(
        Learner(OwnNetwork(), objective, TrainingConfig(steps=3), optimizer=optax.adam(1e-3), average=OwnAverage()),
        batches,
    )
    assert_type(trained.steps_done, int)
    step = make_train_step(Network(OwnNetwork()), objective, optax.sgd(1.0), OwnAverage(), accumulation_steps=4)
    after, metrics = step(state, x, labels)
    assert_type(after, TrainState)
    assert_type(metrics, StepMetrics)
    assert_type(metrics.loss, jax.Array)
