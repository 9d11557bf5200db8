"""The training loop: a compiled step called with batches that depend on the seed and the step alone."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.data import Batches
from artifex.training.errors import CheckpointError
from artifex.training.run.learner import Learner
from artifex.training.run.report import Callback, Every, NonFiniteError, Report
from artifex.training.run.resuming import changes, check_changes, with_room
from artifex.training.run.trained import Trained
from artifex.training.sharding.batches import global_batch
from artifex.training.sharding.distributed import any_process
from artifex.training.step.objective import Label, X
from artifex.training.step.state import TrainState
from artifex.training.step.train_step import StepMetrics, step_options


def train(
    learner: Learner,
    batches: Batches,
    *,
    checkpointer: Checkpointer | None = None,
    resume: bool = False,
    callback: Callback | None = None,
    every: Sequence[Every] = (),
    stop: Callable[[], bool] | None = None,
) -> Trained:
    """Train a network on batches.

    The result is a function of the network's initial parameters, the data, the objective and the configuration alone:
    a run that was stopped and resumed ends in the same bits as one that was not.

    Args:
        learner: the network and how to train it.
        batches: the data, from its start.
        checkpointer: saves every ``config.checkpoint.every`` steps, at the end, when stopped, and when data or a
            callback fails; without ``resume`` its earlier checkpoints are deleted just before the first of these.
        resume: continue from the checkpointer's last checkpoint, whose configuration may differ as far as
            ``resuming.MAY_CHANGE`` allows; a learning rate schedule is that of the new configuration.
        callback: called after every step.
        every: functions to call at intervals.
        stop: called before every step; True ends training early, in all processes if it is True in one of them.

    Raises:
        ValueError: if ``resume`` is set without a checkpointer, the checkpoint's configuration or data is incompatible,
            or network and batch do not fit the mesh.
        FileNotFoundError: if there is no checkpoint to resume from.
        NonFiniteError: if ``config.max_skipped`` steps in a row were skipped.
    """
    learner.check_mesh()
    if stop is not None and learner.mesh is not None:
        stop = any_process(stop, learner.mesh)
    if not resume:
        state, seconds = learner.init_state(), 0.0
    elif checkpointer is None:
        raise ValueError("resume must come with a checkpointer, got None")
    else:
        state, seconds = _restored(learner, batches, checkpointer)
    loop = _Loop(learner, batches, checkpointer, state, seconds, fresh=not resume)
    try:
        while loop.step < learner.config.steps and not (stop is not None and stop()):
            loop.advance(callback, every)
    except (NonFiniteError, CheckpointError, jax.errors.JaxRuntimeError):
        raise
    except Exception:
        # A file that can't be read, or a callback that fails: the steps before it are kept.
        if checkpointer is not None and jax.process_count() == 1:
            with suppress(Exception):
                loop.save()
                checkpointer.wait()
        raise
    loop.save()
    loop.report_last(callback)
    return loop.trained()


def _restored(learner: Learner, batches: Batches, checkpointer: Checkpointer) -> tuple[TrainState, float]:
    """Restore the last checkpoint's state and data position; return the state and the seconds of training."""
    step = checkpointer.latest()
    metadata = checkpointer.metadata(step)
    check_changes(changes(metadata["config"], learner.config), step or 0)
    batches.restore(metadata["data"])
    state = checkpointer.restore(learner.abstract_state(metadata["config"]["steps"]), step)
    return state._replace(losses=with_room(state.losses, learner.config.steps)), float(metadata["seconds"])


class _Loop:
    """A run in progress: the state, and the step whose metrics are not read yet."""

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        checkpointer: Checkpointer | None,
        state: TrainState,
        seconds: float,
        fresh: bool,
    ) -> None:
        self._learner, self._batches, self._checkpointer, self._fresh = learner, batches, checkpointer, fresh
        self._before, self._start = seconds, time.perf_counter()
        self.step = self._saved = int(state.step)
        self._pending: StepMetrics | None = None
        # The overhead of a call grows with the pytree to flatten: a flat list is the cheapest.
        self._leaves, self._structure = jax.tree.flatten(state)
        self._flat_step = self._compiled()

    def _compiled(self) -> Any:  # noqa: ANN401 -- a compiled function
        train_step, structure = self._learner.train_step(), self._structure

        @partial(jax.jit, donate_argnums=0, compiler_options=step_options())
        def flat_step(leaves: list[Array], x0: X, labels: Label) -> tuple[list[Array], StepMetrics]:
            new, metrics = train_step(jax.tree.unflatten(structure, leaves), x0, labels)
            return jax.tree.leaves(new), metrics

        return flat_step

    @property
    def state(self) -> TrainState:
        out: TrainState = jax.tree.unflatten(self._structure, self._leaves)
        return out

    def trained(self) -> Trained:
        return Trained(self.state, self._learner, self._before + time.perf_counter() - self._start)

    def advance(self, callback: Callback | None, every: Sequence[Every]) -> None:
        """Start the next step, report the one before, and do what is due."""
        x0, labels = global_batch(next(self._batches), self._learner.mesh)
        self._leaves, metrics = self._flat_step(self._leaves, x0, labels)
        # One step is always running while the host reads the metrics of the one before.
        self.step, last, self._pending = self.step + 1, self._pending, metrics
        if last is not None:
            self._report(self.step - 1, last, callback)
        due = [one for one in every if self.step % one.steps == 0]
        for one in due:
            if not one.after_saving:
                one.do(self.state)
        if self.step % self._learner.config.checkpoint.every == 0:
            self.save()
        for one in due:
            if one.after_saving:
                one.do(self.state)

    def save(self) -> None:
        if self._checkpointer is None or self._saved == self.step:
            return
        if self._fresh:
            self._checkpointer.clear()
            self._fresh = False
        result = self.trained()
        config = self._learner.config.model_dump(mode="json")
        metadata = {"config": config, "seconds": result.seconds, "data": self._batches.state()}
        self._checkpointer.save(self.step, result.state, metadata)
        self._saved = self.step

    def report_last(self, callback: Callback | None) -> None:
        if self._pending is not None:
            self._report(self.step, self._pending, callback)

    def _report(self, step: int, metrics: StepMetrics, callback: Callback | None) -> None:
        config = self._learner.config
        loss, norm, skipped, in_a_row = (np.asarray(value).item() for value in metrics[:4])
        if callback is not None:
            callback(Report(step, config.steps, loss, norm, skipped, metrics.levels))
        if in_a_row >= config.max_skipped:
            raise NonFiniteError(
                f"the loss or its gradient was not finite in {in_a_row} steps in a row, the last of them step "
                f"{step} (loss {loss}, gradient norm {norm}); try a lower learning rate, a longer warm-up or float32"
            )
