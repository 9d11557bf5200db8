"""One training step of ours, as the peers' do it: mean squared error, its gradient, AdamW."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from artifex.training.step.microbatch import sum_over_microbatches
from artifex.training.step.train_step import step_options


def make_step(
    apply: Callable[..., Any],
    params: Any,  # noqa: ANN401
    inputs: tuple[Any, ...],
    target: jax.Array,
    *,
    rate: float,
    decay: float,
    parallel_microbatches: int = 1,
) -> Callable[[], float]:
    """A function that makes a step and returns the loss before it.

    Args:
        apply: of parameters and inputs.
        params: those to begin with.
        inputs: arrays of a batch; None where there is nothing.
        target: what the output should be.
        rate: of learning.
        decay: of weights.
        parallel_microbatches: in how many parts at once the batch is worked through, see
            `artifex.training.step.microbatch`.
    """
    optimizer = optax.adamw(rate, weight_decay=decay)
    # As `artifex.training.train` does: between steps the state is a list, which a compiled function takes at once.
    leaves, tree = jax.tree.flatten((params, optimizer.init(params)))
    state = [leaves]

    def loss(params: Any, target: jax.Array, *inputs: Any) -> jax.Array:  # noqa: ANN401
        return jnp.mean((apply(params, *inputs) - target) ** 2)

    def update(leaves: list[jax.Array], batch: tuple[Any, ...]) -> tuple[list[jax.Array], jax.Array]:
        params, moments = jax.tree.unflatten(tree, leaves)
        total = sum_over_microbatches(
            lambda _, part: jax.value_and_grad(loss)(params, *part), batch, parallel_microbatches=parallel_microbatches
        )
        value, grads = jax.tree.map(lambda a: a / parallel_microbatches, total)
        updates, moments = optimizer.update(grads, moments, params)
        return jax.tree.leaves((optax.apply_updates(params, updates), moments)), value

    run = jax.jit(update, donate_argnums=0, compiler_options=step_options())

    def step() -> float:
        state[0], value = run(state[0], (target, *inputs))
        return float(value)

    return step
