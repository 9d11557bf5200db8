r"""Samplers as tables of coefficients: general linear methods, one row per call of the network.

The loop carries ``x_e``, the state at which the network is called, ``x_b``, a base state that a row may return to, and
a history ``H[0] ... H[k-1]`` of older predictions, the newest first. Row ``i`` computes

    D   <- denoise(x_e, level[i])
    x_b <- base[i]     . [x_e, x_b, D, H...] + base_noise[i] z
    x_e <- evaluate[i] . [x_e, x_b, D, H...] + noise[i] z        (with the new x_b, and the same standard normal z)
    H   <- keep[i]     . [x_e, D] pushed in front                (with the x_e that the network saw)

and the last ``x_e`` is the sample. The history holds $x_0$, or the quantity that a method extrapolates, such as
$\hat\epsilon = (x_e - \alpha D) / \sigma$. Tables are built on the host in float64.

A method may use a learned variance: ``denoise`` then returns $[D, v]$, and $z$ in the line of ``evaluate`` becomes
$e^{\mathrm{stretch}_i (v + 1) / 2} z$.

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
    """The columns of a table that are in use.

    Attributes:
        evaluate: a flag for each column of the table's ``evaluate``.
        base: a flag for each column of ``base``; all False if no row returns to the base state.
        noise: whether any row draws noise.
        keep: whether the history holds anything but $x_0$ itself.
        stretch: whether the variance is learned.
    """

    evaluate: tuple[bool, ...]
    base: tuple[bool, ...]
    noise: bool
    keep: bool = False
    stretch: bool = False

    @property
    def history(self) -> int:
        """The number of older predictions that the loop must carry."""
        return max((j - 2 for j in range(3, len(self.evaluate)) if self.evaluate[j] or self.base[j]), default=0)


@record
class Tableau(Generic[T]):
    r"""The coefficients of a sampling run; ``tabulate`` builds one from NumPy arrays.

    Attributes:
        level: the levels at which the network is called, arrays of shape ``(rows,)``.
        end: the level of the result, arrays of shape ``()``.
        evaluate: weights of the next ``x_e``, ``(rows, 3 + history)``, over ``[x_e, x_b, D, H...]``.
        noise: standard deviation of the noise added to it, ``(rows,)``.
        base: weights of the next ``x_b``, like ``evaluate``.
        base_noise: standard deviation of the noise added to it, ``(rows,)``.
        keep: weights of the new entry of the history, ``(rows, 2)``, over ``[x_e, D]``.
        stretch: $\log(s_\mathrm{large} / s_\mathrm{small})$, ``(rows,)``: a learned standard deviation lies between
            ``noise``, at $v = -1$, and $s_\mathrm{large}$, at $v = 1$.
        uses: the columns of ``evaluate`` and ``base`` that are in use, and whether noise is drawn. Structure: the loop
            is compiled for it, and unused columns cost nothing.
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
        """The number of calls of the network."""
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
    """Build a table from checked coefficients; the default of all is zero, except that ``keep`` keeps $x_0$.

    With ``stretch``, and a row that draws noise, the denoiser must return $[x_0, v]$.

    Raises:
        ValueError: if shapes do not match, a coefficient is not finite, or a noise is negative.
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
    uses_base = bool(np.any(evaluate[:, 1]))
    uses = ActiveColumns(
        evaluate=tuple(map(bool, np.any(evaluate, axis=0))),
        base=tuple(bool(used) and uses_base for used in np.any(base, axis=0)),
        noise=bool(np.any(noise) or (uses_base and np.any(base_noise))),
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
    """A method and its settings: a pure function from a schedule and times to a table."""

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """Build the table along ``times``, noise first; the network is not called at the last time.

        Raises:
            ValueError: if ``times`` are fewer than two or do not run from noise to data.
        """
        ...


def levels(schedule: Schedule, times: HostArray) -> NoiseLevel[HostArray]:
    """Return the levels at ``times``, checked to run from noise to data.

    Raises:
        ValueError: if there are fewer than two times, they are in another schedule's unit, or the log-SNR does not rise
            from each to the next.
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
            f"got {times[i]} and then {times[i + 1]} at indices {i} and {i + 1}"
        )
    return level


def in_dtype(table: Table, dtype: jnp.dtype) -> Table:
    """``table`` as arrays of JAX: integers as int32, all other numbers in ``dtype``."""

    def one(a: Array | HostArray | Ints) -> Array:
        return jnp.asarray(a, jnp.int32 if jnp.issubdtype(a.dtype, jnp.integer) else dtype)

    out: Table = jax.tree.map(one, table)
    return out


def check_memoryless(tableau: Tableau[HostArray] | Tableau[Array], can: str) -> None:
    """Raise a ValueError for a method with memory or a learned variance, which can not ``can``."""
    if tableau.uses.evaluate[1] or tableau.uses.history:
        raise ValueError(f"only a method without a base state or older predictions can {can}, got one with them")
    if tableau.uses.stretch:
        raise ValueError(f"only a method without a learned variance can {can}, got one with it")
