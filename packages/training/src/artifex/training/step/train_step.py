"""The compiled training step: draws, loss, gradient and update."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from artifex.backbones import force_weight_norm
from artifex.kernels.platform import platform
from artifex.kernels.ranges import check_whole
from artifex.training.ema import Average
from artifex.training.sharding.sharding import constrain, gather_fsdp
from artifex.training.step.loss_by_level import Levels, levels_of
from artifex.training.step.microbatch import sum_over_microbatches
from artifex.training.step.network import Network, Parameters
from artifex.training.step.objective import Label, X
from artifex.training.step.state import TrainState
from artifex.training.step.training_objective import TimedDraws, TrainingObjective


class StepMetrics(NamedTuple):
    """Metrics of a step, on the device.

    Attributes:
        loss: mean over the batch.
        gradient_norm: before clipping.
        skipped: number of skipped steps so far.
        in_a_row: number of skipped steps up to and including this one; 0 if this one was not skipped.
        levels: losses by noise level since the current window of steps began, this step included.
    """

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    skipped: Int[Array, ""]
    in_a_row: Int[Array, ""]
    levels: Levels


TrainStep = Callable[[TrainState, X, Label], tuple[TrainState, StepMetrics]]
_Gradient = tuple[Parameters, tuple[Float[Array, ""], Levels]]


def step_options() -> dict[str, bool] | None:
    """Compiler options for a step that donates its state; None where the defaults are right.

    By default XLA's CPU backend copies every donated buffer that it can't prove to be read before it is written; with
    region analysis it proves it, which saves a copy of all parameters in each step.
    """
    return {"xla_cpu_copy_insertion_use_region_analysis": True} if platform() == "cpu" else None


def make_train_step(
    network: Network,
    objective: TrainingObjective,
    optimizer: optax.GradientTransformation,
    average: Average[Any],
    *,
    seed: int = 0,
    accumulation_steps: int = 1,
    parallel_microbatches: int = 1,
    window: int = 50,
    shardings: TrainState | None = None,
) -> TrainStep:
    """Compile a step ``(state, x0, labels) -> (state, metrics)`` that donates its state.

    The random numbers of step k come from ``fold_in(key(seed), k)``. A step whose loss or gradient is not finite
    changes the counters of the state and nothing else. Weights of which only the direction counts, as in an
    ``EDM2UNet``, are rescaled after every update: see ``artifex.backbones.force_weight_norm``.

    Args:
        network: the network to train.
        objective: the loss.
        optimizer: any optax transformation.
        average: the average of the parameters to keep.
        seed: of noise, times, dropped labels and dropout, in [0, 2^32).
        accumulation_steps: number of microbatches computed in turn, to save memory; draws and gradient are those of the
            whole batch.
        parallel_microbatches: number of microbatches computed in parallel in each of these, see
            ``sum_over_microbatches``.
        window: number of steps after which the losses by noise level are reset.
        shardings: of the state's arrays, on more than one device; see ``state_shardings``.

    Raises:
        ValueError: if ``seed`` is out of range, or a number of microbatches or steps is below 1.
    """
    check_whole("seed", seed, 0, 2**32 - 1)
    check_whole("accumulation_steps", accumulation_steps, 1)
    check_whole("parallel_microbatches", parallel_microbatches, 1)
    check_whole("window", window, 1)
    root = jax.random.key(seed)

    def loss_of(
        parameters: Parameters, key: Array, x0: X, draws: TimedDraws
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Levels]]:
        losses = objective.losses(network.training(parameters, key), x0, draws)
        loss = jnp.mean(losses)
        return loss, (loss, levels_of(objective.schedule.at(draws.t).logsnr, losses))

    def gradient_of(parameters: Parameters, key: Array, x0: X, draws: TimedDraws) -> _Gradient:
        sharded_loss = loss_of if shardings is None else gather_fsdp(loss_of, shardings.parameters)
        gradient = jax.grad(sharded_loss, has_aux=True)
        count = accumulation_steps * parallel_microbatches
        if count == 1:
            whole: _Gradient = gradient(parameters, key, x0, draws)
            return whole
        total, (loss, levels) = sum_over_microbatches(
            lambda i, part: gradient(parameters, jax.random.fold_in(key, i), *part),
            (x0, draws),
            accumulation_steps=accumulation_steps,
            parallel_microbatches=parallel_microbatches,
        )
        return jax.tree.map(lambda a: a / count, total), (loss / count, levels)

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
        # Optax promotes dtypes itself: Adam's bias correction raises a float to an integer power.
        with jax.numpy_dtype_promotion("standard"):
            updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.parameters)
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
            optimizer=unless_skipped(optimizer_state, state.optimizer),
            skipped=skipped,
            in_a_row=in_a_row,
            losses=state.losses.at[state.step].set(loss),
            levels=gathered,
        )
        new = new if shardings is None else constrain(new, shardings)
        return new, StepMetrics(loss, norm, skipped, in_a_row, gathered)

    return train_step
