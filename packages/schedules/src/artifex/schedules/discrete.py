r"""The discrete variance-preserving chain of DDPM, as a schedule over the integers $0 \dots n-1$.

$\bar\alpha_i = \prod_{j \le i} (1 - \beta_j)$, $\alpha = \sqrt{\bar\alpha}$, $\sigma = \sqrt{1 - \bar\alpha}$.
Time -1 is clean data: $\bar\alpha_{-1} = 1$. Between the integers half the log-SNR is interpolated linearly.

A level's time is the network's timestep: int32 at the integers, for networks that look it up in a table, and floating
between them.
"""

from functools import cached_property
from typing import Final

import numpy as np

from artifex.schedules.arrays.array_api import HostArray, T, array_namespace, check_times, real, whole
from artifex.schedules.grid.chain import trailing
from artifex.schedules.level import NoiseLevel

FLOOR: Final = 2.0**-24
r"""The value that interpolation uses for an $\bar\alpha$ or a $1 - \bar\alpha$ of 0; at most a quarter of its neighbor.

The ends themselves stay exact.
"""


class Discrete:
    """The schedule of a table of betas, in float64.

    Args:
        betas: ``(n,)``, each in (0, 1); the last may be 1 (zero terminal SNR). Copied.

    Schedules with equal tables are equal.

    Raises:
        ValueError: for a table that is empty, not one-dimensional, or outside of that range.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    def __init__(self, betas: HostArray) -> None:
        table = np.array(betas, np.float64)
        if table.ndim != 1 or table.size == 0:
            raise ValueError(f"betas must be of shape (n,) with n at least 1, got {table.shape}")
        if not (np.all(table > 0) and np.all(table[:-1] < 1) and table[-1] <= 1):
            raise ValueError(
                f"betas must lie in (0, 1), the last in (0, 1], got values from {table.min()} to {table.max()}"
            )
        table.setflags(write=False)
        self._betas = table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Discrete) and np.array_equal(self._betas, other._betas)

    def __hash__(self) -> int:
        return hash(self._betas.tobytes())

    def __repr__(self) -> str:
        return f"Discrete({self.steps} betas, {self._betas[0]:g} to {self._betas[-1]:g})"

    @property
    def steps(self) -> int:
        """The number of steps, n."""
        return len(self._betas)

    @property
    def betas(self) -> HostArray:
        r"""$\beta_i$, ``(n,)``."""
        return self._betas

    @cached_property
    def alphas_cumprod(self) -> HostArray:
        r"""$\bar\alpha_i$, ``(n,)``."""
        out: HostArray = np.cumprod(1 - self._betas, dtype=np.float64)
        return out

    @cached_property
    def posterior_variance(self) -> HostArray:
        r"""Variance of $q(x_{i-1} \mid x_i, x_0)$: $\beta_i (1 - \bar\alpha_{i-1}) / (1 - \bar\alpha_i)$, ``(n,)``."""
        out: HostArray = self._betas * self._variance[:-1] / self._variance[1:]
        return out

    @cached_property
    def posterior_mean_coef1(self) -> HostArray:
        r"""The factor of $x_0$ in the mean of $q(x_{i-1} \mid x_i, x_0)$, ``(n,)``."""
        before = np.append(1.0, self.alphas_cumprod[:-1])
        out: HostArray = self._betas * np.sqrt(before) / self._variance[1:]
        return out

    @cached_property
    def posterior_mean_coef2(self) -> HostArray:
        r"""The factor of $x_i$ in the mean of $q(x_{i-1} \mid x_i, x_0)$, ``(n,)``."""
        out: HostArray = np.sqrt(1 - self._betas) * self._variance[:-1] / self._variance[1:]
        return out

    @cached_property
    def _variance(self) -> HostArray:
        r"""$1 - \bar\alpha$ at the times -1, 0 ... n-1; log1p keeps the digits of tiny first betas."""
        with np.errstate(divide="ignore"):
            logs = np.log1p(-self._betas)
        out: HostArray = np.abs(np.expm1(np.append(0.0, np.cumsum(logs))))
        return out

    @cached_property
    def _nodes(self) -> tuple[HostArray, HostArray, HostArray]:
        """alpha, sigma and half the log-SNR at the times -1, 0 ... n-1."""
        keep = np.append(1.0, self.alphas_cumprod)
        rest = self._variance
        inner_keep = np.where(keep > 0, keep, min(FLOOR, keep[-2] / 4))
        inner_rest = np.where(rest > 0, rest, min(FLOOR, rest[1] / 4))
        half = 0.5 * (np.log(inner_keep) - np.log(inner_rest))
        return np.sqrt(keep), np.sqrt(rest), half

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t`` in [-1, n-1], exact at the integers; -1 is clean data.

        The result's ``t`` is int32 if ``t`` is an array of JAX of an integer dtype, or one of NumPy that holds only
        integers; else it is floating.

        Raises:
            ValueError: if a concrete time lies outside of that range.
        """
        xp, timesteps = array_namespace(t), whole(t)
        t = real(t)
        check_times(t, -1, self.steps - 1)
        index = xp.clip(t + 1.0, 0.0, float(self.steps))
        alpha, sigma, half = (xp.asarray(table).astype(t.dtype) for table in self._nodes)
        floor = xp.floor(index)
        low = floor.astype("int32")
        high = xp.asarray(xp.minimum(floor + 1, float(self.steps))).astype("int32")
        part = index - floor
        between = half[low] + part * (half[high] - half[low])
        on_node = part == 0
        return NoiseLevel(
            t=timesteps,
            alpha=xp.where(on_node, alpha[low], xp.exp(-0.5 * xp.logaddexp(0.0, -2 * between))),
            sigma=xp.where(on_node, sigma[low], xp.exp(-0.5 * xp.logaddexp(0.0, 2 * between))),
        )

    def times(self, steps: int) -> HostArray:
        """The default grid: ``grid.trailing``, from the last time to clean data.

        Raises:
            ValueError: if ``steps`` lies outside of [1, n].
        """
        return trailing(self.steps, steps)

    def check_grid(self, times: HostArray) -> None:
        """Raise a ValueError for a grid over [0, 1], which is the time of continuous schedules and not of a chain."""
        if self.steps > 2 and times.min() >= 0 and times.max() <= 1 and np.any(times != np.round(times)):
            raise ValueError(
                f"times of a chain of {self.steps} steps must run from {self.steps - 1}, noise, to -1, clean data, got "
                f"values from {times.max():g} to {times.min():g} in [0, 1]: take schedule.times(steps)"
            )

    def inverse_logsnr(self, logsnr: T) -> T:
        """The time in [-1, n-1] with this log-SNR; the nearest end for values beyond the table."""
        xp = array_namespace(logsnr)
        wanted = real(logsnr) / 2
        tables = (
            xp.asarray(table[::-1]).astype(wanted.dtype) for table in (self._nodes[2], np.arange(-1.0, self.steps))
        )
        return xp.asarray(xp.interp(wanted, *tables))
