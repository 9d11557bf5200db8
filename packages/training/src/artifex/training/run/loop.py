"""The training loop: one compiled step over split state, called with batches that depend on (seed, step) alone."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jax.stages import Wrapped
from jaxtyping import Array, Float, Int

from artifex.backbones import force_weight_norm
from artifex.kernels.platform import platform
from artifex.kernels.ranges import check_whole
from artifex.schedules import NetworkDenoiser
from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.config.optimizer import make_optimiser
from artifex.training.config.run import TrainingConfig
from artifex.training.data import Batches
from artifex.training.ema import Average
from artifex.training.errors import CheckpointError
from artifex.training.run.report import Callback as Callback
from artifex.training.run.report import Report as Report
from artifex.training.run.resuming import changes, check_changes, with_room
from artifex.training.sharding.mesh import (
    agreed,
    check_mesh,
    constrain,
    fetching,
    global_batch,
    lying,
    place,
    rules_of,
    state_shardings,
)
from artifex.training.step.loss_by_level import Levels, levels_of, no_levels
from artifex.training.step.microbatch import sum_over_parts
from artifex.training.step.objective import Draws, Label, Objective, Time, X

Parameters = nnx.State[Any, Any]
"""The arrays of a module's ``nnx.Param``."""


class TrainState(NamedTuple):
    """All that changes from step to step.

    Attributes:
        step: how many batches were seen.
        parameters: of the network.
        average: what ``Average`` keeps of them.
        optimizer: state of the optimizer.
        skipped: how many steps changed nothing, since their loss or gradient was not finite.
        in_a_row: how many of the last steps did so.
        losses: of each step so far, 0 for those to come, ``(steps,)``.
        levels: losses by noise level since the last window of steps began.
    """

    step: Int[Array, ""]
    parameters: Parameters
    average: Any
    optimizer: optax.OptState
    skipped: Int[Array, ""]
    in_a_row: Int[Array, ""]
    losses: Float[Array, " steps"]
    levels: Levels


class StepMetrics(NamedTuple):
    """What a step tells, on the device.

    Attributes:
        loss: the mean over the batch.
        gradient_norm: before clipping.
        skipped: how many steps were skipped so far.
        in_a_row: how many of the last steps, this one included; above 0 where it was.
        levels: losses by noise level since the last window of steps began, this one included.
    """

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    skipped: Int[Array, ""]
    in_a_row: Int[Array, ""]
    levels: Levels


class Network:
    """A module taken apart once: the structure and what is no parameter here, the parameters outside."""

    def __init__(self, module: nnx.Module) -> None:
        self._graphdef, *states = nnx.split(module, nnx.Param, ...)
        self.parameters: Parameters = states[0]
        self._rest = states[1]
        self.kind = type(module)
        # A layer's stream is tagged with the name it was made under, which may be any.
        streams = (part for _, part in nnx.iter_graph(module) if isinstance(part, nnx.RngStream))
        self._tags = sorted({str(stream.key.tag) for stream in streams})

    # Never changed once made: a denoiser of its ``apply`` is known by this object, and need not be traced to be seen.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

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
class Every:
    """Something to do with the state at intervals: a preview, a snapshot.

    Attributes:
        steps: it is done after every step whose number this divides; at least 1.
        do: called with the state, whose arrays the next step takes over: copy what is to be kept.
        after_saving: it is done after the checkpoint of its step, which its failure then can't cost.

    Raises:
        ValueError: if ``steps`` is less than 1.
    """

    steps: int
    do: Callable[[TrainState], None]
    after_saving: bool = False

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)


class NonFiniteError(ArithmeticError):
    """The loss or the gradient was not finite for too many steps in a row."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gives; not ``finished`` if it was stopped on the way.

    Attributes:
        state: after the last step.
        network: what its parameters belong to.
        objective: what it was trained on.
        config: how.
        average: how its averages are read.
        seconds: spent in training, earlier parts of a resumed run included.
    """

    state: TrainState
    network: Network
    objective: Objective
    config: TrainingConfig
    average: Average[Any]
    seconds: float

    @property
    def steps_done(self) -> int:
        """Steps made so far."""
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
    def parameters(self) -> Parameters:
        """The averaged parameters."""
        return self.average.read(self.state.average)

    @property
    def module(self) -> nnx.Module:
        """The network with averaged parameters."""
        return self.network.module(self.parameters)

    @property
    def denoiser(self) -> NetworkDenoiser[Parameters, Label]:
        """The network with averaged parameters, as samplers and guidance know it."""
        return NetworkDenoiser(self.network.apply, self.objective.prediction, self.parameters)


def init_state(
    network: Network,
    optimizer: optax.GradientTransformation,
    average: Average[Any],
    steps: int,
    shardings: TrainState | None = None,
) -> TrainState:
    """The state before the first of ``steps``; its buffers are its own, so that a step may take them over.

    Args:
        network: what to train.
        optimizer: any of optax.
        average: what to keep of the parameters.
        steps: how many there will be.
        shardings: where the arrays lie, on more than one device, see ``state_shardings``: there each is made. None is
            one device.
    """
    if shardings is None:
        return _first(network.parameters, optimizer, average, steps)
    out: TrainState = starting(optimizer, average, steps, shardings)(place(network.parameters, shardings.parameters))
    return out


def starting(
    optimizer: optax.GradientTransformation, average: Average[Any], steps: int, shardings: TrainState
) -> Wrapped:
    """``init_state`` on more than one device, compiled: from the parameters, each where it lies, to the state."""
    make = partial(_first, optimizer=optimizer, average=average, steps=steps)
    return jax.jit(make, out_shardings=shardings)


def _first(
    parameters: Parameters, optimizer: optax.GradientTransformation, average: Average[Any], steps: int
) -> TrainState:
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        parameters=jax.tree.map(jnp.array, parameters),
        average=average.init(parameters),
        optimizer=optimizer.init(parameters),
        skipped=jnp.zeros((), jnp.int32),
        in_a_row=jnp.zeros((), jnp.int32),
        losses=jnp.zeros(steps, jnp.float32),
        levels=no_levels(),
    )


def state_like(
    network: Network, optimizer: optax.GradientTransformation, average: Average[Any], steps: int, mesh: Mesh | None
) -> tuple[TrainState, TrainState | None]:
    """What ``init_state`` would give, as shapes that know where they lie, and where; None is one device.

    Raises:
        ValueError: as ``rules_of`` and ``state_shardings`` do.
    """
    shapes = jax.eval_shape(lambda parameters: _first(parameters, optimizer, average, steps), network.parameters)
    if mesh is None:
        return shapes, None
    shardings = state_shardings(shapes, mesh, rules_of(network.kind, mesh))
    return lying(shapes, shardings), shardings


def step_options() -> dict[str, bool] | None:
    """What to compile a step with that takes over the buffers of its state; None where that is nothing special.

    On a CPU, XLA copies a buffer before it writes into it, unless told to see that its last reader is done by then:
    all parameters in a step, with their moments and averages too in one that may be skipped, 2% of DiT-S/2's work.
    """
    return {"xla_cpu_copy_insertion_use_region_analysis": True} if platform() == "cpu" else None


TrainStep = Callable[[TrainState, X, Label], tuple[TrainState, StepMetrics]]


def make_train_step(
    network: Network,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    average: Average[Any],
    *,
    seed: int = 0,
    accumulate: int = 1,
    parallel_microbatches: int = 1,
    window: int = 50,
    shardings: TrainState | None = None,
) -> TrainStep:
    """A compiled ``(state, x0, labels) -> (state, metrics)`` that takes over the buffers of its state.

    What is random in step k comes from ``fold_in(key(seed), k)``. A step whose loss or gradient is not finite changes
    the counters of the state and nothing else. Weights of which only the direction counts, as in an ``EDM2UNet``, are
    set back to their length after every update: see ``artifex.backbones.force_weight_norm``.

    Args:
        network: what to train.
        objective: the loss.
        optimizer: any of optax.
        average: what to keep of the parameters.
        seed: of noise, times, dropped labels and dropout, in [0, 2^32).
        accumulate: parts that a batch is worked through in, one after the other, to save memory: the draws are those
            of the whole batch, and so is the gradient.
        parallel_microbatches: parts that each of these is worked through in at once, see ``sum_over_parts``.
        window: steps over which losses are gathered by noise level before that begins anew.
        shardings: where the arrays of the state lie, on more than one device; see ``state_shardings``.

    Raises:
        ValueError: for a seed outside of its range, or numbers of parts or steps below 1.
    """
    check_whole("seed", seed, 0, 2**32 - 1)
    check_whole("accumulate", accumulate, 1)
    check_whole("parallel_microbatches", parallel_microbatches, 1)
    check_whole("window", window, 1)
    root = jax.random.key(seed)

    def loss_of(
        parameters: Parameters, key: Array, x0: X, draws: Draws
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Levels]]:
        losses = objective.losses(partial(network.apply_training, parameters, key), x0, draws)
        loss = jnp.mean(losses)
        return loss, (loss, levels_of(objective.schedule.at(draws.t).logsnr, losses))

    def gradient_of(
        parameters: Parameters, key: Array, x0: X, draws: Draws
    ) -> tuple[Parameters, tuple[Float[Array, ""], Levels]]:
        of_shares = loss_of if shardings is None else fetching(loss_of, shardings.parameters)
        gradient = jax.grad(of_shares, has_aux=True)
        if accumulate * parallel_microbatches == 1:
            one: tuple[Parameters, tuple[Float[Array, ""], Levels]] = gradient(parameters, key, x0, draws)
            return one
        total, (loss, levels) = sum_over_parts(
            lambda i, part: gradient(parameters, jax.random.fold_in(key, i), *part),
            (x0, draws),
            in_turn=accumulate,
            parallel_microbatches=parallel_microbatches,
        )
        parts = accumulate * parallel_microbatches
        return jax.tree.map(lambda a: a / parts, total), (loss / parts, levels)

    @partial(jax.jit, donate_argnums=0)
    def train_step(state: TrainState, x0: X, labels: Label) -> tuple[TrainState, StepMetrics]:
        draw_key, dropout_key = jax.random.split(jax.random.fold_in(root, state.step))
        draws = objective.draw(x0, labels, draw_key)
        gradient, (loss, levels) = gradient_of(state.parameters, dropout_key, x0, draws)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        skipped = jnp.where(finite, state.skipped, state.skipped + 1)
        in_a_row = jnp.where(finite, 0, state.in_a_row + 1)
        step = state.step + 1
        # Optax itself promotes: Adam's bias correction takes a power of a float with a whole number.
        with jax.numpy_dtype_promotion("standard"):
            updates, optimiser_state = optimizer.update(gradient, state.optimizer, state.parameters)
        parameters = force_weight_norm(optax.apply_updates(state.parameters, updates))
        averaged = average.update(state.average, parameters, step - skipped)

        def unless_skipped(new: Any, old: Any) -> Any:  # noqa: ANN401 -- any pytree
            return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)

        before = jax.tree.map(lambda a: jnp.where(state.step % window == 0, 0, a), state.levels)
        gathered = unless_skipped(jax.tree.map(jnp.add, before, levels), before)
        new = TrainState(
            step=step,
            parameters=unless_skipped(parameters, state.parameters),
            average=unless_skipped(averaged, state.average),
            optimizer=unless_skipped(optimiser_state, state.optimizer),
            skipped=skipped,
            in_a_row=in_a_row,
            losses=state.losses.at[state.step].set(loss),
            levels=gathered,
        )
        new = new if shardings is None else constrain(new, shardings)
        return new, StepMetrics(loss, norm, skipped, in_a_row, gathered)

    return train_step


def train(
    network: nnx.Module,
    batches: Batches,
    objective: Objective,
    config: TrainingConfig | None = None,
    *,
    optimizer: optax.GradientTransformation | None = None,
    average: Average[Any] | None = None,
    checkpointer: Checkpointer | None = None,
    resume: bool = False,
    callback: Callback | None = None,
    every: Sequence[Every] = (),
    stop: Callable[[], bool] | None = None,
    mesh: Mesh | None = None,
) -> Trained:
    """Train ``network`` on ``batches``.

    The result is a function of the network's first parameters, the data, the objective and ``config`` alone: a run
    that was stopped and resumed ends in the same bits as one that was not.

    Args:
        network: called as ``(x, t, labels, deterministic=...)``; it is left as it is.
        batches: what to learn, from its start.
        objective: the loss.
        config: how to train; None takes the defaults.
        optimizer: in place of the one that ``config`` names.
        average: in place of the one that ``config`` names.
        checkpointer: saves every ``config.checkpoint.every`` steps, at the end, when stopped, and when data or a
            callback fails; without ``resume`` its earlier checkpoints are deleted just before the first of these.
        resume: go on from the checkpointer's last checkpoint, whose configuration may have been another one as far as
            ``resuming.MAY_CHANGE`` allows; a schedule of the learning rate is that of the new one.
        callback: is told of every step.
        every: what else is done at intervals.
        stop: asked before every step; True ends training early, of all processes when one is told so.
        mesh: the devices to train on, see ``make_mesh``; None is one device. In a run of several processes each hands
            in its own rows of the batches.

    Raises:
        ValueError: if ``resume`` is set without a checkpointer, the checkpoint's configuration or data can't become
            these, or network and batch do not fit ``mesh``.
        FileNotFoundError: if there is nothing to resume from.
        NonFiniteError: if ``config.max_skipped`` steps in a row were skipped.
    """
    config = TrainingConfig() if config is None else config
    optimizer = make_optimiser(config.optimizer, config.steps, network) if optimizer is None else optimizer
    average = config.ema.build() if average is None else average
    parts = Network(network)
    if mesh is not None:
        check_mesh(mesh, network, config.batch_size, config.accumulate, config.parallel_microbatches)
        stop = None if stop is None else agreed(stop, mesh)
    _, shardings = state_like(parts, optimizer, average, config.steps, mesh)
    before = 0.0
    if resume:
        if checkpointer is None:
            raise ValueError("resume must come with a checkpointer, got None")
        step = checkpointer.latest()
        notes = checkpointer.notes(step)
        check_changes(changes(notes["config"], config), step or 0)
        batches.restore(notes["data"])
        like, _ = state_like(parts, optimizer, average, notes["config"]["steps"], mesh)
        state, before = checkpointer.restore(like, step), float(notes["seconds"])
        state = state._replace(losses=with_room(state.losses, config.steps))
    else:
        state = init_state(parts, optimizer, average, config.steps, shardings)
    train_step = make_train_step(
        parts, objective, optimizer, average,
        seed=config.seed, accumulate=config.accumulate, parallel_microbatches=config.parallel_microbatches,
        window=config.log.every, shardings=shardings,
    )  # fmt: skip
    # What calling a compiled step costs grows with what has to be taken apart and put together again for it.
    leaves, structure = jax.tree.flatten(state)

    @partial(jax.jit, donate_argnums=0, compiler_options=step_options())
    def flat_step(leaves: list[Array], x0: X, labels: Label) -> tuple[list[Array], StepMetrics]:
        new, metrics = train_step(jax.tree.unflatten(structure, leaves), x0, labels)
        return jax.tree.leaves(new), metrics

    def now() -> TrainState:
        out: TrainState = jax.tree.unflatten(structure, leaves)
        return out

    start, done, fresh = time.perf_counter(), int(state.step), not resume
    saved, running = done, None

    def trained() -> Trained:
        return Trained(now(), parts, objective, config, average, before + time.perf_counter() - start)

    def tell(step: int, metrics: StepMetrics) -> None:
        loss, norm, skipped, in_a_row = (np.asarray(value).item() for value in metrics[:4])
        if callback is not None:
            callback(Report(step, config.steps, loss, norm, skipped, metrics.levels))
        if in_a_row >= config.max_skipped:
            raise NonFiniteError(
                f"the loss or its gradient was not finite in {in_a_row} steps in a row, the last of them step "
                f"{step} (loss {loss}, gradient norm {norm}); try a lower learning rate, a longer warm-up or float32"
            )

    def save() -> None:
        nonlocal fresh, saved
        if checkpointer is None or saved == done:
            return
        if fresh:
            checkpointer.clear()
            fresh = False
        result = trained()
        notes = {"config": config.model_dump(mode="json"), "seconds": result.seconds, "data": batches.state()}
        checkpointer.save(done, result.state, notes)
        saved = done

    def advance() -> None:
        nonlocal leaves, done, running
        x0, labels = global_batch(next(batches), mesh)
        leaves, metrics = flat_step(leaves, x0, labels)
        done, last, running = done + 1, running, metrics
        # One step is always under way while the host looks at the one before.
        if last is not None:
            tell(done - 1, last)
        due = [one for one in every if done % one.steps == 0]
        for one in due:
            if not one.after_saving:
                one.do(now())
        if done % config.checkpoint.every == 0:
            save()
        for one in due:
            if one.after_saving:
                one.do(now())

    try:
        while done < config.steps and not (stop is not None and stop()):
            advance()
    except (NonFiniteError, CheckpointError, jax.errors.JaxRuntimeError):
        raise
    except Exception:
        # A file that can't be read, a callback that fails: what was learned before is not lost.
        if checkpointer is not None and jax.process_count() == 1:
            with suppress(Exception):
                save()
                checkpointer.wait()
        raise
    save()
    if running is not None:
        tell(done, running)
    return trained()
