r"""A sampler as a table of coefficients: a general linear method, one row for each call of the network.

The walk carries ``x_e``, where the network is called, ``x_b``, a base state that a row may go back to, and a history
``H[0] ... H[k-1]`` of older predictions, the newest first. Row ``i`` does

    D   <- denoise(x_e, level[i])
    x_b <- base[i]     . [x_e, x_b, D, H...] + base_noise[i] z
    x_e <- evaluate[i] . [x_e, x_b, D, H...] + noise[i] z        (with the new x_b, and the same standard normal z)
    H   <- keep[i]     . [x_e, D] pushed in front                (with the x_e that the network saw)

and the last ``x_e`` is the sample. What goes into the history is $x_0$ itself, or what a method predict instead,
such as $\hat\epsilon = (x_e - \alpha D) / \sigma$. Tables are built on the host in float64.

A method may leave the noise of its rows to the network: ``denoise`` then gives $[D, v]$, and $z$ in the line of
``evaluate`` becomes $e^{\mathrm{stretch}_i (v + 1) / 2} z$.

References: Butcher 2006, General linear methods, https://doi.org/10.1017/S0962492906220014
"""

from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from artifex.schedules import NoiseLevel, Schedule
from artifex.schedules.arrays import HostArray, T, record, static
from artifex.schedules.arrays.array_api import Ints
from artifex.schedules.grid.time import check_unit

Table = TypeVar("Table", "Tableau[Any]", NoiseLevel[Any])


@dataclass(frozen=True)
class ActiveColumns:
    """What of a table is in use.

    Attributes:
        evaluate: a flag for each column of the table's ``evaluate``.
        base: a flag for each column of ``base``; all False where no row goes back to the base state.
        noise: whether any row draws noise.
        keep: whether the history holds anything but $x_0$ itself.
        stretch: whether the network says how much noise there is.
    """

    evaluate: tuple[bool, ...]
    base: tuple[bool, ...]
    noise: bool
    keep: bool = False
    stretch: bool = False

    @property
    def history(self) -> int:
        """How many older predictions the walk must carry."""
        return max((j - 2 for j in range(3, len(self.evaluate)) if self.evaluate[j] or self.base[j]), default=0)


@record
class Tableau(Generic[T]):
    r"""The coefficients of a walk; ``tabulate`` makes one from NumPy arrays.

    Attributes:
        level: where the network is called, arrays of shape ``(rows,)``.
        end: the level of the result, arrays of shape ``()``.
        evaluate: weights of the next ``x_e``, ``(rows, 3 + history)``, over ``[x_e, x_b, D, H...]``.
        noise: standard deviation of what is added to it, ``(rows,)``.
        base: weights of the next ``x_b``, like ``evaluate``.
        base_noise: standard deviation of what is added to it, ``(rows,)``.
        keep: weights of what goes into the history, ``(rows, 2)``, over ``[x_e, D]``.
        stretch: $\log(s_\mathrm{large} / s_\mathrm{small})$, ``(rows,)``, where ``noise`` is the least standard
            deviation that the network can ask for, with $v = -1$, and $s_\mathrm{large}$ what it gets with $v = 1$.
        uses: which columns of ``evaluate`` and ``base`` hold anything, and whether the walk draws noise. Structure: the
            walk is compiled for it, and columns that no row uses cost nothing.
    """

    level: NoiseLevel[T]
    end: NoiseLevel[T]
    evaluate: T
    noise: T
    base: T
    base_noise: T
    keep: T
    stretch: T
    uses: ActiveColumns = static()

    @property
    def rows(self) -> int:
        """How often the network is called."""
        return int(self.evaluate.shape[0])


def tabulate(
    level: NoiseLevel[HostArray],
    end: NoiseLevel[HostArray],
    evaluate: HostArray,
    noise: HostArray | None = None,
    base: HostArray | None = None,
    base_noise: HostArray | None = None,
    keep: HostArray | None = None,
    stretch: HostArray | None = None,
) -> Tableau[HostArray]:
    """A checked table; absent noise is none, an absent base is never looked at, an absent ``keep`` keeps $x_0$.

    With ``stretch``, and a row that draws noise, the walk wants a denoiser that gives $[x_0, v]$.

    Raises:
        ValueError: if shapes don't fit each other, a coefficient is not finite, or a noise is negative.
    """
    if evaluate.ndim != 2 or evaluate.shape[0] < 1 or evaluate.shape[1] < 3:
        raise ValueError(f"evaluate must be of shape (rows, 3 + history) with rows at least 1, got {evaluate.shape}")
    rows, columns = evaluate.shape
    noise = np.zeros(rows) if noise is None else noise
    base = np.zeros_like(evaluate) if base is None else base
    base_noise = np.zeros(rows) if base_noise is None else base_noise
    keep = np.tile([0.0, 1.0], (rows, 1)) if keep is None else keep
    learned, stretch = stretch is not None, np.zeros(rows) if stretch is None else stretch
    for name, table, shape in (
        ("level.t", level.t, (rows,)),
        ("level.alpha", level.alpha, (rows,)),
        ("level.sigma", level.sigma, (rows,)),
        ("end.alpha", end.alpha, ()),
        ("evaluate", evaluate, (rows, columns)),
        ("noise", noise, (rows,)),
        ("base", base, (rows, columns)),
        ("base_noise", base_noise, (rows,)),
        ("keep", keep, (rows, 2)),
        ("stretch", stretch, (rows,)),
    ):
        if np.shape(table) != shape:
            raise ValueError(f"{name} must be of shape {shape}, got {np.shape(table)}")
        if not np.all(np.isfinite(table)):
            raise ValueError(f"{name} must be finite, got {table[~np.isfinite(table)][0]} in {table.shape}")
    if np.any(noise < 0):
        raise ValueError(f"noise must be at least 0, got {noise.min()}")
    goes_back = bool(np.any(evaluate[:, 1]))
    uses = ActiveColumns(
        evaluate=tuple(map(bool, np.any(evaluate, axis=0))),
        base=tuple(bool(used) and goes_back for used in np.any(base, axis=0)),
        noise=bool(np.any(noise) or (goes_back and np.any(base_noise))),
        stretch=learned and bool(np.any(noise)),
    )
    if uses.history:
        uses = replace(uses, keep=bool(np.any(keep != (0.0, 1.0))))
    return Tableau(
        level=level,
        end=end,
        evaluate=evaluate,
        noise=noise,
        base=base,
        base_noise=base_noise,
        keep=keep,
        stretch=stretch,
        uses=uses,
    )


@runtime_checkable
class Sampler(Protocol):
    """A method, with its settings: a pure function from a schedule and times to a table."""

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """The table of the walk along ``times``, noise first; the last time is where it ends.

        Raises:
            ValueError: if ``times`` is no falling sequence of at least two levels.
        """
        ...


def levels(schedule: Schedule, times: HostArray) -> NoiseLevel[HostArray]:
    """The levels at ``times``, checked to run from noise to data.

    Raises:
        ValueError: if there are fewer than two times, they are known to be in another schedule's unit, or the log-SNR
            does not rise from each to the next.
    """
    times = np.asarray(times, np.float64)
    if times.ndim != 1 or times.size < 2:
        raise ValueError(f"times must be of shape (steps + 1,) with at least one step, got {times.shape}")
    check_unit(schedule, times)
    level = schedule.at(times)
    logsnr = level.logsnr
    rising = logsnr[1:] > logsnr[:-1]
    if not np.all(rising):
        i = int(np.argmin(rising))
        raise ValueError(
            "times must run from noise to data, each at a higher log-SNR than the one before; "
            f"got {times[i]} and then {times[i + 1]} at places {i} and {i + 1}"
        )
    return level


def in_dtype(table: Table, dtype: jnp.dtype) -> Table:
    """``table`` as arrays of JAX: the steps of a chain as int32, all other numbers in ``dtype``."""

    def one(a: Array | HostArray | Ints) -> Array:
        return jnp.asarray(a, jnp.int32 if jnp.issubdtype(a.dtype, jnp.integer) else dtype)

    out: Table = jax.tree.map(one, table)
    return out


def check_memoryless(tableau: Tableau[HostArray] | Tableau[Array], can: str) -> None:
    """Raises a ValueError unless rows stand alone: ``can`` says what only such a method can do."""
    if tableau.uses.evaluate[1] or tableau.uses.history:
        raise ValueError(f"only a method without a base state or older predictions can {can}, got one that keeps them")
    if tableau.uses.stretch:
        raise ValueError(f"only a method with noise of its own can {can}, got one that leaves it to the network")
