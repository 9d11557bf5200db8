"""The sampling loop: one scan runs the table of every linear sampler."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from artifex.kernels import linear_step, sample_keys
from artifex.kernels.dtypes import accumulation_dtype
from artifex.samplers.closure import closure_converted
from artifex.samplers.tableau import Tableau, in_dtype
from artifex.schedules import Denoiser, NoiseLevel, split_variance
from artifex.schedules.arrays import HostArray
from artifex.schedules.shapes import AnyKey, X

Callback = Callable[[Array, Array, Array], None]
"""A function of a row's index, the state after it and the $x_0$ predicted in it."""


class Carry(NamedTuple):
    """The state of the scan: evaluation state, base state, history, and the states that are kept."""

    x_e: X
    x_b: X | None
    history: tuple[X, ...]
    kept: Float[Array, "m b *d"] | None


def sample(denoise: Denoiser, tableau: Tableau[HostArray] | Tableau[Array], x: X, key: AnyKey | None = None) -> X:
    """Run the table from ``x``; the network is called once per row.

    Compiled once per shape and structure: other coefficients, parameters or keys reuse the program. The denoiser may be
    any callable: a record of this project, a function, a module of Flax or Equinox. Its arrays, or those it closes
    over, are read at each call; equal code is compiled once, even if the object is new. Anything but a record is traced
    at each call.

    Args:
        denoise: returns $x_0$ from ``x`` and its level, or $[x_0, v]$, of which most methods use only $x_0$.
        tableau: the method's coefficients, from ``Sampler.tableau``.
        x: the initial state, ``(batch, ...)``, at the table's first level; see ``prior``.
        key: one key, or one per sample, for a method that draws noise. A sample's noise depends only on its own key,
            so splitting a batch does not change it.

    Raises:
        ValueError: if ``x`` is not a batch of a floating dtype, or a concrete ``x`` is not finite; if the method draws
            noise and there is no key; if the denoiser returns another shape, lacks the $v$ of a learned variance, or
            changes its own state.
    """
    check_start(tableau, x, key)
    out: X = _run(_converted(denoise, tableau, x, key), tableau, x, key, None)[0]
    return out


def sample_trajectory(
    denoise: Denoiser,
    tableau: Tableau[HostArray] | Tableau[Array],
    x: X,
    key: AnyKey | None = None,
    *,
    after: Sequence[int] | None = None,
) -> tuple[X, Float[Array, "m b *d"]]:
    """Run ``sample`` and also return the states after chosen rows.

    Args:
        denoise: as in ``sample``.
        tableau: as in ``sample``.
        x: as in ``sample``.
        key: as in ``sample``.
        after: the rows after which the state is kept, rising, in [0, rows - 1]; None keeps all.

    Returns:
        The sample, and the kept states ``(len(after), batch, ...)``. Memory grows only with these.

    Raises:
        ValueError: as ``sample``, and if ``after`` does not rise within its range.
    """
    check_start(tableau, x, key)
    slot, count = _slots(tableau.rows, after)
    out, kept = _run(_converted(denoise, tableau, x, key), tableau, x, key, slot, count)
    assert kept is not None
    return out, kept


def sample_with_callback(
    denoise: Denoiser,
    tableau: Tableau[HostArray] | Tableau[Array],
    x: X,
    key: AnyKey | None = None,
    *,
    callback: Callback,
    after: Sequence[int] | None = None,
) -> X:
    """Run ``sample`` and call ``callback`` on the host after chosen rows, in order, during the run.

    Args:
        denoise: as in ``sample``.
        tableau: as in ``sample``.
        x: as in ``sample``.
        key: as in ``sample``.
        callback: called with the row's index, the state after it and the $x_0$ predicted in it. It is part of the
            compiled code, so pass the same object again. Calls may be pending when this function returns;
            ``jax.effects_barrier()`` waits for them.
        after: as in ``sample_trajectory``.

    Raises:
        ValueError: as ``sample_trajectory``.
    """
    check_start(tableau, x, key)
    slot, count = _slots(tableau.rows, after)
    out: X = _run(_converted(denoise, tableau, x, key), tableau, x, key, slot, count, callback)[0]
    return out


def _converted(denoise: Denoiser, tableau: Tableau[HostArray] | Tableau[Array], x: X, key: AnyKey | None) -> Denoiser:
    """The denoiser with its arrays as leaves; see ``closure``."""
    return closure_converted(denoise, x, level_like(tableau, x), beside=(tableau, key))


def level_like(tableau: Tableau[HostArray] | Tableau[Array], x: X) -> NoiseLevel[Array]:
    """A level, one per sample, of the shapes and dtypes that the denoiser is called with."""
    first = in_dtype(jax.tree.map(lambda v: v[:1], tableau.level), accumulation_dtype(x.dtype))
    out: NoiseLevel[Array] = jax.tree.map(lambda v: jnp.zeros(x.shape[:1], v.dtype), first)
    return out


def _slots(rows: int, after: Sequence[int] | None) -> tuple[Int[Array, " n"], int]:
    """Each row's index among the kept states, or their number if it is not kept; and their number."""
    chosen = np.arange(rows) if after is None else np.asarray(after)
    listed = chosen.ndim == 1 and chosen.size > 0 and np.issubdtype(chosen.dtype, np.integer)
    if not listed or chosen[0] < 0 or chosen[-1] >= rows or np.any(np.diff(chosen) <= 0):
        raise ValueError(f"after must be whole numbers that rise within [0, {rows - 1}], got {after}")
    slot = np.full(rows, len(chosen), np.int32)
    slot[chosen] = np.arange(len(chosen))
    return jnp.asarray(slot), len(chosen)


def check_start(tableau: Tableau[HostArray] | Tableau[Array], x: X, key: AnyKey | None) -> None:
    """Raise a ValueError unless ``x`` and ``key`` can start a run."""
    if x.ndim < 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be a batch (batch, ...) of a floating dtype, got shape {x.shape} and dtype {x.dtype}")
    # A tracer has no values, and an array of several processes has some elsewhere.
    concrete = not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)
    if concrete and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError("x must be finite, got NaN or infinity in it")
    if tableau.uses.noise and key is None:
        raise ValueError("this method draws noise: key must be one key or one per sample, got None")


def _pick(weights: Array, states: Sequence[X | None], used: Sequence[bool]) -> tuple[list[X], Array]:
    """The states that a table uses, and their weights."""
    indices = [j for j, flag in enumerate(used) if flag]
    terms = [state for j, state in enumerate(states) if used[j] and state is not None]
    return terms, weights[np.asarray(indices)]


def _stretched(v: X | None, stretch: Array, keys: Key[Array, " b"] | None) -> X:
    """Noise of standard deviation 1 where ``v`` is -1, and ``exp(stretch)`` where it is 1."""
    if v is None or keys is None:
        raise ValueError(
            "this method uses a learned variance: the denoiser must return [x0, v], twice the channels of x, got x0"
        )
    wide = v.astype(stretch.dtype)
    z = linear_step([jnp.zeros_like(wide)], jnp.zeros(1), noise_scale=1.0, key=keys)
    return jnp.exp(stretch * (wide + 1) / 2) * z


def _run_impl(
    denoise: Denoiser,
    tableau: Tableau[HostArray] | Tableau[Array],
    x: X,
    key: AnyKey | None,
    slot: Int[Array, " n"] | None,
    kept: int = 0,
    callback: Callback | None = None,
) -> tuple[X, Float[Array, "m b *d"] | None]:
    uses, batch = tableau.uses, x.shape[0]
    wide = accumulation_dtype(x.dtype)
    uses_base = uses.evaluate[1]
    keys = sample_keys(key, batch) if uses.noise and key is not None else None

    def step(carry: Carry, row: tuple[Tableau[Array], Int[Array, ""], Int[Array, ""] | None]) -> tuple[Carry, None]:
        table, index, slot_of_row = row
        level = jax.tree.map(lambda v: jnp.broadcast_to(v, (batch,)), table.level)
        x0, v = split_variance(denoise(carry.x_e, level), x)
        x0 = x0.astype(x.dtype)
        row_keys = None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)

        def combine(weights: Array, x_b: X | None, used: tuple[bool, ...], scale: Array, z: X | None = None) -> X:
            terms, picked = _pick(weights, (carry.x_e, x_b, x0, *carry.history), used)
            if not terms:
                terms, picked = [carry.x_e], jnp.zeros(1, wide)
            if z is not None:
                return linear_step([*terms, z], jnp.append(picked, scale))
            return linear_step(terms, picked, noise_scale=None if row_keys is None else scale, key=row_keys)

        x_b = combine(table.base, carry.x_b, uses.base, table.base_noise) if uses_base else None
        z = _stretched(v, table.stretch, row_keys) if uses.stretch else None
        x_e = combine(table.evaluate, x_b, uses.evaluate, table.noise, z)
        newest = linear_step([carry.x_e, x0], table.keep) if uses.keep else x0
        history = (newest, *carry.history)[: uses.history]
        if callback is not None and slot_of_row is not None:
            call = partial(jax.debug.callback, callback, ordered=True)
            jax.lax.cond(slot_of_row < kept, lambda: call(index, x_e, x0), lambda: None)
        states = carry.kept if carry.kept is None else carry.kept.at[slot_of_row].set(x_e, mode="drop")
        return Carry(x_e, x_b, history, states), None

    first = Carry(
        x_e=x,
        x_b=x if uses_base else None,
        history=(jnp.zeros_like(x),) * uses.history,
        kept=None if slot is None or callback is not None else jnp.zeros((kept, *x.shape), x.dtype),
    )
    cast = in_dtype(tableau, wide)
    rows = replace(cast, end=cast.level)
    last, _ = jax.lax.scan(step, first, (rows, jnp.arange(tableau.rows), slot))
    return last.x_e, last.kept


_run = jax.jit(_run_impl, static_argnames=("kept", "callback"))
