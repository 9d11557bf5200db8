"""Microbatches: in turn, to save memory, or in parallel, to keep the cores of a CPU busy."""

from collections.abc import Callable
from functools import reduce
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

B = TypeVar("B")
T = TypeVar("T")


def sum_over_microbatches(
    f: Callable[[Int[Array, ""], B], T], batch: B, *, accumulation_steps: int = 1, parallel_microbatches: int = 1
) -> T:
    r"""Compute $\sum_i f(i, \text{part}_i)$ over equal parts of a batch.

    Accumulation steps are iterations of a loop, so memory is that of one. Parallel microbatches are independent parts
    of one program: where a layer is too small for all cores of a CPU, another part's layer uses the rest. Each is
    compiled by itself.

    Args:
        f: of a part's number and its rows.
        batch: arrays whose leading axes are the same multiple of ``accumulation_steps * parallel_microbatches``.
        accumulation_steps: number of parts computed one after the other.
        parallel_microbatches: number of parts computed at once in each of these.

    Raises:
        ValueError: if the number of rows is not divisible.
    """
    rows, count = len(jax.tree.leaves(batch)[0]), accumulation_steps * parallel_microbatches
    if rows % count:
        sizes = {"accumulation_steps": accumulation_steps, "parallel_microbatches": parallel_microbatches}
        product = " x ".join(f"{name} = {n}" for name, n in sizes.items() if n > 1)
        raise ValueError(f"{product} must divide the batch of {rows}")

    def split(a: Array) -> Array:
        # Every part has rows from all over the batch, so a batch that is sharded over devices keeps all of them busy.
        return jnp.moveaxis(a.reshape(rows // count, accumulation_steps, parallel_microbatches, *a.shape[1:]), 0, 2)

    def add(a: T, b: T) -> T:
        out: T = jax.tree.map(jnp.add, a, b)
        return out

    def in_parallel(i: Int[Array, ""], parts: B) -> T:
        each = (
            f(i * parallel_microbatches + j, jax.tree.map(lambda a, j=j: a[j], parts))
            for j in range(parallel_microbatches)
        )
        return reduce(add, each)

    parts = jax.tree.map(split, batch)
    if accumulation_steps == 1:
        return in_parallel(jnp.zeros((), jnp.int32), jax.tree.map(lambda a: a[0], parts))
    steps = jnp.arange(accumulation_steps), parts
    shapes = jax.eval_shape(lambda steps: in_parallel(*jax.tree.map(lambda a: a[0], steps)), steps)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    total: T = jax.lax.scan(lambda total, step: (add(total, in_parallel(*step)), None), zeros, steps)[0]
    return total
