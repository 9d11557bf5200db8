"""The training loop: one compiled step over split state, called with batches that depend on (seed, step) alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict, Field

from artifex.schedules import NetworkDenoiser
from artifex.training.checkpoint import Checkpointer
from artifex.training.data import LabelledImages
from artifex.training.ema import Ema
from artifex.training.objective import Label, Objective, Time, X

Parameters = nnx.State[Any, Any]
"""The arrays of a module's ``nnx.Param``."""


class TrainingConfig(BaseModel):
    """How to train; refuses unknown fields and values out of range.

    Attributes:
        steps: updates of the parameters.
        batch_size: images an update.
        learning_rate: of AdamW, at its top: reached after ``warmup_steps``, then falling to 0 as a cosine.
        warmup_steps: cut to a tenth of ``steps``.
        weight_decay: of AdamW.
        clip_norm: the gradient's largest norm.
        ema_decay: of the averaged parameters, in [0, 1).
        seed: of the order of the data, of noise, times and dropped labels.
        save_every: steps between checkpoints, where there is a checkpointer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=2000, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.995, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    save_every: int = Field(default=500, ge=1)


class TrainState(NamedTuple):
    """All that changes from step to step.

    Attributes:
        step: how many updates were made.
        parameters: of the network.
        average: their moving average.
        optimiser: state of the optimiser.
        losses: of each step so far, 0 for those to come, ``(steps,)``.
    """

    step: Int[Array, ""]
    parameters: Parameters
    average: Parameters
    optimiser: optax.OptState
    losses: Float[Array, " steps"]


class Network:
    """A module taken apart once: the structure and what is no parameter here, the parameters outside."""

    def __init__(self, module: nnx.Module) -> None:
        self._graphdef, *states = nnx.split(module, nnx.Param, ...)
        self.parameters: Parameters = states[0]
        self._rest = states[1]
        # A layer's stream is tagged with the name it was made under, which may be any.
        streams = (part for _, part in nnx.iter_graph(module) if isinstance(part, nnx.RngStream))
        self._tags = sorted({str(stream.key.tag) for stream in streams})

    def module(self, parameters: Parameters) -> nnx.Module:
        """A module with these parameters."""
        return nnx.merge(self._graphdef, parameters, self._rest, copy=True)

    def apply(self, parameters: Parameters, x: X, t: Time, cond: Label | None) -> X:
        """The network's output, without dropout."""
        return self._call(parameters, x, t, cond, None)

    def apply_training(self, parameters: Parameters, key: Array, x: X, t: Time, cond: Label | None) -> X:
        """The network's output, with dropout drawn from ``key``."""
        return self._call(parameters, x, t, cond, key)

    def _call(self, parameters: Parameters, x: X, t: Time, cond: Label | None, key: Array | None) -> X:
        module = self.module(parameters)
        if key is not None:
            keys: dict[str, Any] = {tag: jax.random.fold_in(key, i) for i, tag in enumerate(self._tags)}
            nnx.reseed(module, **keys)
        out: X = module(x, t, cond, deterministic=key is None)
        return out


@dataclass(frozen=True)
class Report:
    """One step, told to whoever watches.

    Attributes:
        step: how many are done, this one included.
        steps: how many there will be.
        loss: of this step.
    """

    step: int
    steps: int
    loss: float


@runtime_checkable
class Callback(Protocol):
    """Watches training; it is told of a step while the next one is already running."""

    def __call__(self, report: Report) -> None:
        """Take note of a step."""
        ...


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gives; not ``finished`` if it was stopped on the way.

    Attributes:
        state: after the last step.
        network: what its parameters belong to.
        objective: what it was trained on.
        config: how.
        seconds: spent in training, earlier parts of a resumed run included.
    """

    state: TrainState
    network: Network
    objective: Objective
    config: TrainingConfig
    seconds: float

    @property
    def steps_done(self) -> int:
        """Updates made so far."""
        return int(self.state.step)

    @property
    def finished(self) -> bool:
        """Whether every step was made."""
        return self.steps_done == self.config.steps

    @property
    def losses(self) -> Float[Array, " steps"]:
        """The loss of every step made."""
        return self.state.losses[: self.steps_done]

    @property
    def module(self) -> nnx.Module:
        """The network with averaged parameters."""
        return self.network.module(self.state.average)

    @property
    def denoiser(self) -> NetworkDenoiser[Parameters, Label]:
        """The network with averaged parameters, as samplers and guidance know it."""
        return NetworkDenoiser(self.network.apply, self.objective.prediction, self.state.average)


def make_optimiser(config: TrainingConfig) -> optax.GradientTransformation:
    """AdamW under a warm-up and a cosine decay to 0, its gradient clipped by norm."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, min(config.warmup_steps, config.steps // 10), config.steps + 1
    )
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adamw(rate, weight_decay=config.weight_decay))


def init_state(network: Network, config: TrainingConfig) -> TrainState:
    """The state before the first step; its buffers are its own, so that a step may take them over."""
    parameters = jax.tree.map(jnp.array, network.parameters)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        parameters=parameters,
        average=jax.tree.map(jnp.array, network.parameters),
        optimiser=make_optimiser(config).init(parameters),
        losses=jnp.zeros(config.steps, jnp.float32),
    )


TrainStep = Callable[[TrainState, X, Label], tuple[TrainState, Float[Array, ""]]]


def make_train_step(network: Network, objective: Objective, config: TrainingConfig) -> TrainStep:
    """A compiled ``(state, x0, labels) -> (state, loss)`` that takes over the buffers of its state.

    What is random in step k comes from ``fold_in(key(seed), k)``.
    """
    optimiser, ema, root = make_optimiser(config), Ema(config.ema_decay), jax.random.key(config.seed)

    @partial(jax.jit, donate_argnums=0)
    def train_step(state: TrainState, x0: X, labels: Label) -> tuple[TrainState, Float[Array, ""]]:
        draw_key, dropout_key = jax.random.split(jax.random.fold_in(root, state.step))

        def loss_of(parameters: Parameters) -> Float[Array, ""]:
            return objective.loss(partial(network.apply_training, parameters, dropout_key), x0, labels, draw_key)

        loss, gradient = jax.value_and_grad(loss_of)(state.parameters)
        updates, optimiser_state = optimiser.update(gradient, state.optimiser, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        step = state.step + 1
        new = TrainState(
            step=step,
            parameters=parameters,
            average=ema.update(state.average, parameters, step),
            optimiser=optimiser_state,
            losses=state.losses.at[state.step].set(loss),
        )
        return new, loss

    return train_step


def train(
    network: nnx.Module,
    data: LabelledImages,
    objective: Objective,
    config: TrainingConfig | None = None,
    *,
    checkpointer: Checkpointer | None = None,
    resume: bool = False,
    callback: Callback | None = None,
    stop: Callable[[], bool] | None = None,
) -> Trained:
    """Train ``network`` on ``data``.

    The result is a function of the network's first parameters, the data, the objective and ``config`` alone: a run
    that was stopped and resumed ends in the same bits as one that was not.

    Args:
        network: called as ``(x, t, labels, deterministic=...)``; it is left as it is.
        data: what to learn.
        objective: the loss.
        config: how to train; None takes the defaults.
        checkpointer: saves every ``config.save_every`` steps, at the end, and when stopped; without ``resume`` its
            earlier checkpoints are deleted just before the first of these.
        resume: go on from the checkpointer's last checkpoint.
        callback: is told of every step.
        stop: asked before every step; True ends training early.

    Raises:
        ValueError: if ``resume`` is set without a checkpointer, or the checkpoint is of another ``config``.
        FileNotFoundError: if there is nothing to resume from.
    """
    config = TrainingConfig() if config is None else config
    parts = Network(network)
    state, before = init_state(parts, config), 0.0
    if resume:
        if checkpointer is None:
            raise ValueError("resume must come with a checkpointer, got None")
        notes = checkpointer.notes()
        if notes["config"] != config.model_dump():
            raise ValueError(f"config must be that of the checkpoint, {notes['config']}, got {config.model_dump()}")
        state, before = checkpointer.restore(state), float(notes["seconds"])
    train_step = make_train_step(parts, objective, config)
    start, done, fresh = time.perf_counter(), int(state.step), not resume
    saved, running = done, None

    def trained() -> Trained:
        return Trained(state, parts, objective, config, before + time.perf_counter() - start)

    def tell(step: int, loss: Array) -> None:
        value = float(loss)
        if callback is not None:
            callback(Report(step, config.steps, value))

    def save() -> None:
        nonlocal fresh, saved
        if checkpointer is None or saved == done:
            return
        if fresh:
            checkpointer.clear()
            fresh = False
        checkpointer.save(done, state, {"config": config.model_dump(), "seconds": trained().seconds})
        saved = done

    while done < config.steps and not (stop is not None and stop()):
        x0, labels = data.batch(done, config.batch_size, config.seed)
        state, loss = train_step(state, jnp.asarray(x0), jnp.asarray(labels))
        # One step is always under way while the host looks at the one before.
        if running is not None:
            tell(done, running)
        done, running = done + 1, loss
        if done % config.save_every == 0:
            save()
    save()
    if running is not None:
        tell(done, running)
    return trained()
