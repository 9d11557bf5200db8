"""Sequences of blocks, unrolled or scanned."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

L = TypeVar("L", bound=nnx.Module)
C = TypeVar("C")
X = TypeVar("X")
Y = TypeVar("Y")
T = TypeVar("T")
Step = Callable[[L, C, X], tuple[C, Y]]


def apply_blocks(
    step: Step[L, C, X, Y], layers: Sequence[L], carry: C, xs: Sequence[X], *, remat: bool, scan: bool
) -> tuple[C, list[Y]]:
    r"""Apply layers in sequence.

    $$h_{i+1}, y_i = \text{step}(\text{layer}_i, h_i, x_i)$$

    With ``scan``, each run of consecutive layers that differ only in the values of their arrays is one
    ``jax.lax.scan``: the step is traced once for the run, which keeps the program small. Every layer keeps its own
    arrays; they are stacked within the program, so each call copies them. XLA's CPU backend compiles the stacking
    slowly, so that only tracing and lowering become faster there, see ``docs/scale.md``.

    Args:
        step: called with a layer, the carry and the layer's input. With ``scan``, changes to variables of the layer are
            kept, new variables are lost.
        layers: the $\text{layer}_i$.
        carry: the first $h$; with ``scan``, all $h$ have its structure, shapes and dtypes.
        xs: one $x$ per layer; with ``scan``, all have the same structure, shapes and dtypes, and so have all $y$.
        remat: recompute each step in the backward pass instead of keeping its intermediates.
        scan: trace the step once per run of equal layers.

    Returns:
        The last $h$ and all $y$.
    """
    ys: list[Y] = []
    once = nnx.remat(step) if remat else step
    start = 0
    for run in _runs(layers) if scan else ([layer] for layer in layers):
        inputs = xs[start : start + len(run)]
        start += len(run)
        if len(run) == 1:
            carry, y = once(run[0], carry, inputs[0])
            ys.append(y)
        else:
            carry, more = _scanned(step, run, carry, inputs, remat)
            ys += more
    return carry, ys


def _runs(layers: Sequence[L]) -> Iterator[list[L]]:
    """Split layers into runs of the same code with arrays of the same shapes."""

    def kind(layer: L) -> tuple[nnx.GraphDef[L], list[tuple[tuple[int, ...], Any]]]:
        graphdef, state = nnx.split(layer)
        return graphdef, [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)]

    return (list(run) for _, run in groupby(layers, kind))


def _scanned(step: Step[L, C, X, Y], layers: Sequence[L], carry: C, xs: Sequence[X], remat: bool) -> tuple[C, list[Y]]:
    """Apply layers that differ only in values in one scan."""
    graphdef = nnx.graphdef(layers[0])

    def body(carry: C, inputs: tuple[nnx.State[Any, Any], X]) -> tuple[C, tuple[Y, nnx.State[Any, Any]]]:
        state, x = inputs
        before = {path: variable.get_raw_value() for path, variable in nnx.to_flat_state(state)}
        layer = nnx.merge(graphdef, state)
        carry, y = step(layer, carry, x)
        after = nnx.to_flat_state(nnx.state(layer))
        written = [(path, variable) for path, variable in after if variable.get_raw_value() is not before.get(path)]
        return carry, (y, nnx.from_flat_state(written))

    # A scan's iteration and its recomputation are not merged by CSE, so that it need not be prevented.
    body = jax.checkpoint(body, prevent_cse=False) if remat else body
    carry, out = jax.lax.scan(body, carry, (_stack([nnx.state(layer) for layer in layers]), _stack(xs)))
    ys = []
    for layer, (y, written) in zip(layers, _unstack(out, len(layers)), strict=True):
        nnx.update(layer, written)
        ys.append(y)
    return carry, ys


def _stack(trees: Sequence[T]) -> T:
    out: T = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    return out


def _unstack(tree: T, n: int) -> list[T]:
    """The inverse of ``_stack``, by ``split``, whose gradient is one concatenation."""
    leaves, structure = jax.tree.flatten(tree)
    parts = [[part.squeeze(0) for part in jnp.split(leaf, n)] for leaf in leaves]
    return [jax.tree.unflatten(structure, [part[i] for part in parts]) for i in range(n)]
