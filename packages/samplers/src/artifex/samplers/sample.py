"""The one walk: every linear sampler's table runs in this scan."""

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

Watch = Callable[[Array, Array, Array], None]
"""What is told of a row: its number, the state after it, and the $x_0$ that was predicted in it."""


class Carry(NamedTuple):
    """What goes from row to row: the two states, the history, and the states that were asked for."""

    x_e: X
    x_b: X | None
    history: tuple[X, ...]
    kept: Float[Array, "m b *d"] | None


def sample(denoise: Denoiser, tableau: Tableau[HostArray] | Tableau[Array], x: X, key: AnyKey | None = None) -> X:
    """Walks ``x`` along the table; the network is called once a row.

    Compiled once for each shape and structure: a second call with other coefficients, parameters or keys runs at once.
    Any callable may be the denoiser: a record of this project, a function, a module of Flax or Equinox. It is seen with
    the arrays that it has, or closes over, at the time of this call, and the same code is compiled once, even if the
    object is new. What is no record is traced at each call.

    Args:
        denoise: gives $x_0$ from ``x`` and its level, or $[x_0, v]$, of which most methods look at $x_0$ alone.
        tableau: the method's coefficients, from ``Sampler.tableau``.
        x: the start, ``(batch, ...)``, at the table's first level; see ``prior``.
        key: one key, or one a sample, for a method that draws noise. A sample's noise depends on its own key alone,
            so splitting a batch does not change it.

    Raises:
        ValueError: if ``x`` is no batch of floating numbers, is known to hold a number that is not finite, the method
            draws noise and got no key, or the denoiser gives another shape than ``x``'s, lacks the $v$ that the
            method asks for, or changes its own state.
    """
    check_start(tableau, x, key)
    out: X = _walk(_converted(denoise, tableau, x, key), tableau, x, key, None)[0]
    return out


def sample_trajectory(
    denoise: Denoiser,
    tableau: Tableau[HostArray] | Tableau[Array],
    x: X,
    key: AnyKey | None = None,
    *,
    after: Sequence[int] | None = None,
) -> tuple[X, Float[Array, "m b *d"]]:
    """Like ``sample``, and the states after chosen rows.

    Args:
        denoise: as in ``sample``.
        tableau: as in ``sample``.
        x: as in ``sample``.
        key: as in ``sample``.
        after: the rows whose result is kept, rising, in [0, rows - 1]; None keeps all.

    Returns:
        The sample, and the kept states ``(len(after), batch, ...)``. Memory grows with what is kept alone.

    Raises:
        ValueError: as ``sample``, and if ``after`` does not rise within its range.
    """
    check_start(tableau, x, key)
    slot, count = _slots(tableau.rows, after)
    out, kept = _walk(_converted(denoise, tableau, x, key), tableau, x, key, slot, count)
    assert kept is not None
    return out, kept


def sample_with_callback(
    denoise: Denoiser,
    tableau: Tableau[HostArray] | Tableau[Array],
    x: X,
    key: AnyKey | None = None,
    *,
    watch: Watch,
    after: Sequence[int] | None = None,
) -> X:
    """Like ``sample``, and calls ``watch`` on the host after chosen rows, in their order, while the walk goes on.

    Args:
        denoise: as in ``sample``.
        tableau: as in ``sample``.
        x: as in ``sample``.
        key: as in ``sample``.
        watch: gets the row's number, the state after it and the $x_0$ predicted in it. Part of the code: pass the same
            object again. When this function returns, calls may still be under way; ``jax.effects_barrier()`` waits.
        after: as in ``sample_trajectory``.

    Raises:
        ValueError: as ``sample_trajectory``.
    """
    check_start(tableau, x, key)
    slot, count = _slots(tableau.rows, after)
    out: X = _walk(_converted(denoise, tableau, x, key), tableau, x, key, slot, count, watch)[0]
    return out


def _converted(denoise: Denoiser, tableau: Tableau[HostArray] | Tableau[Array], x: X, key: AnyKey | None) -> Denoiser:
    """The denoiser with what it closes over taken out; see ``closure``."""
    return closure_converted(denoise, x, level_like(tableau, x), beside=(tableau, key))


def level_like(tableau: Tableau[HostArray] | Tableau[Array], x: X) -> NoiseLevel[Array]:
    """A level of the shapes and dtypes that a walk of ``x`` calls its denoiser at, one a sample."""
    first = in_dtype(jax.tree.map(lambda v: v[:1], tableau.level), accumulation_dtype(x.dtype))
    out: NoiseLevel[Array] = jax.tree.map(lambda v: jnp.zeros(x.shape[:1], v.dtype), first)
    return out


def _slots(rows: int, after: Sequence[int] | None) -> tuple[Int[Array, " n"], int]:
    """For each row the place of its result among those asked for, the number of these where it has none; and that."""
    chosen = np.arange(rows) if after is None else np.asarray(after)
    listed = chosen.ndim == 1 and chosen.size > 0 and np.issubdtype(chosen.dtype, np.integer)
    if not listed or chosen[0] < 0 or chosen[-1] >= rows or np.any(np.diff(chosen) <= 0):
        raise ValueError(f"after must be whole numbers that rise within [0, {rows - 1}], got {after}")
    slot = np.full(rows, len(chosen), np.int32)
    slot[chosen] = np.arange(len(chosen))
    return jnp.asarray(slot), len(chosen)


def check_start(tableau: Tableau[HostArray] | Tableau[Array], x: X, key: AnyKey | None) -> None:
    """Raises a ValueError unless a walk can start from ``x`` with ``key``."""
    if x.ndim < 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be a batch (batch, ...) of a floating dtype, got shape {x.shape} and dtype {x.dtype}")
    # Not while tracing, nor of rows that other processes hold.
    known = not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)
    if known and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError("x must be finite, got NaN or infinity in it")
    if tableau.uses.noise and key is None:
        raise ValueError("this method draws noise: key must be one key or one a sample, got None")


def _pick(weights: Array, states: Sequence[X | None], used: Sequence[bool]) -> tuple[list[X], Array]:
    """The states that a table uses, and their weights."""
    places = [j for j, flag in enumerate(used) if flag]
    terms = [state for j, state in enumerate(states) if used[j] and state is not None]
    return terms, weights[np.asarray(places)]


def _stretched(v: X | None, stretch: Array, keys: Key[Array, " b"] | None) -> X:
    """Noise of unit size where ``v`` is -1, and ``exp(stretch)`` times as long where it is 1."""
    if v is None or keys is None:
        raise ValueError(
            "this method asks the network for its variance: the denoiser must give [x0, v], twice the channels of x, "
            "got x0 alone"
        )
    wide = v.astype(stretch.dtype)
    z = linear_step([jnp.zeros_like(wide)], jnp.zeros(1), noise_scale=1.0, key=keys)
    return jnp.exp(stretch * (wide + 1) / 2) * z


def _walk_impl(
    denoise: Denoiser,
    tableau: Tableau[HostArray] | Tableau[Array],
    x: X,
    key: AnyKey | None,
    slot: Int[Array, " n"] | None,
    kept: int = 0,
    watch: Watch | None = None,
) -> tuple[X, Float[Array, "m b *d"] | None]:
    uses, batch = tableau.uses, x.shape[0]
    wide = accumulation_dtype(x.dtype)
    goes_back = uses.evaluate[1]
    keys = sample_keys(key, batch) if uses.noise and key is not None else None

    def step(carry: Carry, row: tuple[Tableau[Array], Int[Array, ""], Int[Array, ""] | None]) -> tuple[Carry, None]:
        table, index, place = row
        level = jax.tree.map(lambda v: jnp.broadcast_to(v, (batch,)), table.level)
        clean, v = split_variance(denoise(carry.x_e, level), x)
        clean = clean.astype(x.dtype)
        row_keys = None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)

        def combine(weights: Array, x_b: X | None, used: tuple[bool, ...], scale: Array, z: X | None = None) -> X:
            terms, picked = _pick(weights, (carry.x_e, x_b, clean, *carry.history), used)
            if not terms:
                terms, picked = [carry.x_e], jnp.zeros(1, wide)
            if z is not None:
                return linear_step([*terms, z], jnp.append(picked, scale))
            return linear_step(terms, picked, noise_scale=None if row_keys is None else scale, key=row_keys)

        x_b = combine(table.base, carry.x_b, uses.base, table.base_noise) if goes_back else None
        z = _stretched(v, table.stretch, row_keys) if uses.stretch else None
        x_e = combine(table.evaluate, x_b, uses.evaluate, table.noise, z)
        newest = linear_step([carry.x_e, clean], table.keep) if uses.keep else clean
        history = (newest, *carry.history)[: uses.history]
        if watch is not None and place is not None:
            tell = partial(jax.debug.callback, watch, ordered=True)
            jax.lax.cond(place < kept, lambda: tell(index, x_e, clean), lambda: None)
        states = carry.kept if carry.kept is None else carry.kept.at[place].set(x_e, mode="drop")
        return Carry(x_e, x_b, history, states), None

    first = Carry(
        x_e=x,
        x_b=x if goes_back else None,
        history=(jnp.zeros_like(x),) * uses.history,
        kept=None if slot is None or watch is not None else jnp.zeros((kept, *x.shape), x.dtype),
    )
    cast = in_dtype(tableau, wide)
    rows = replace(cast, end=cast.level)
    last, _ = jax.lax.scan(step, first, (rows, jnp.arange(tableau.rows), slot))
    return last.x_e, last.kept


_walk = jax.jit(_walk_impl, static_argnames=("kept", "watch"))
