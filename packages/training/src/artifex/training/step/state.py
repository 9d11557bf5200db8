"""The state of training: everything that changes from step to step."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.stages import Wrapped
from jaxtyping import Array, Float, Int

from artifex.training.ema import Average
from artifex.training.sharding.sharding import rules_of, shard, state_shardings, with_shardings
from artifex.training.step.loss_by_level import Levels, no_levels
from artifex.training.step.network import Network, Parameters


class TrainState(NamedTuple):
    """Everything that changes from step to step.

    Attributes:
        step: number of batches processed.
        parameters: of the network.
        average: state of the ``Average`` of the parameters.
        optimizer: state of the optimizer.
        skipped: number of steps that changed nothing because their loss or gradient was not finite.
        in_a_row: number of skipped steps up to and including the last one.
        losses: of each step so far, 0 for those to come, ``(steps,)``.
        levels: losses by noise level since the current window of steps began.
    """

    step: Int[Array, ""]
    parameters: Parameters
    average: Any
    optimizer: optax.OptState
    skipped: Int[Array, ""]
    in_a_row: Int[Array, ""]
    losses: Float[Array, " steps"]
    levels: Levels


def init_state(
    network: Network,
    optimizer: optax.GradientTransformation,
    average: Average[Any],
    steps: int,
    shardings: TrainState | None = None,
) -> TrainState:
    """Initialize the state; its buffers are copies, so that a step may donate them.

    Args:
        network: the network to train.
        optimizer: any optax transformation.
        average: the average of the parameters to keep.
        steps: total number of steps.
        shardings: of the arrays, on more than one device, see ``state_shardings``; each array is created in place. None
            is one device.
    """
    if shardings is None:
        return _init_state(network.parameters, optimizer, average, steps)
    init = jit_init_state(optimizer, average, steps, shardings)
    out: TrainState = init(shard(network.parameters, shardings.parameters))
    return out


def jit_init_state(
    optimizer: optax.GradientTransformation, average: Average[Any], steps: int, shardings: TrainState
) -> Wrapped:
    """Compile ``init_state`` for more than one device: a function from the sharded parameters to the state."""
    init = partial(_init_state, optimizer=optimizer, average=average, steps=steps)
    return jax.jit(init, out_shardings=shardings)


def _init_state(
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


def abstract_state(
    network: Network, optimizer: optax.GradientTransformation, average: Average[Any], steps: int, mesh: Mesh | None
) -> tuple[TrainState, TrainState | None]:
    """Return the shapes of ``init_state``'s result, with their shardings, and the shardings alone.

    Args:
        network: the network to train.
        optimizer: any optax transformation.
        average: the average of the parameters to keep.
        steps: total number of steps.
        mesh: the devices; None is one device, whose shardings are None.

    Raises:
        ValueError: as ``rules_of`` and ``state_shardings`` do.
    """
    shapes = jax.eval_shape(lambda parameters: _init_state(parameters, optimizer, average, steps), network.parameters)
    if mesh is None:
        return shapes, None
    shardings = state_shardings(shapes, mesh, rules_of(network.kind, mesh))
    return with_shardings(shapes, shardings), shardings
