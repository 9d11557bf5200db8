r"""Noise levels: points on the path $x_t = \alpha x_0 + \sigma \epsilon$.

Symbols of this package: $x_0$ clean data, $\epsilon \sim \mathcal N(0, I)$, $x_t$ the noisy sample, $t$ the time,
$\alpha \ge 0$ the factor of the signal, $\sigma \ge 0$ that of the noise. ``alpha`` and ``sigma`` are never both zero.
The log-SNR is $\log(\alpha^2 / \sigma^2)$.
"""

from typing import Generic, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from artifex.kernels import linear_step
from artifex.schedules.arrays.array_api import HostArray, Ints, T, array_namespace
from artifex.schedules.arrays.records import record
from artifex.schedules.shapes import X


@record
class NoiseLevel(Generic[T]):
    """A point, or an array of points, on the path; the three arrays have the same shape.

    Attributes:
        t: the time, in the schedule's unit: int32 for steps of a chain, else floating.
        alpha: factor of the clean data, at least 0.
        sigma: factor of the noise, at least 0.
    """

    t: T | Ints
    alpha: T
    sigma: T

    @property
    def logsnr(self) -> T:
        r"""$2 \log(\alpha / \sigma)$; infinite on clean data and on pure noise."""
        xp = array_namespace(self.alpha)
        clean, noise = self.sigma <= 0, self.alpha <= 0
        ends = xp.where(clean, xp.inf, -xp.inf)
        inside = 2 * (xp.log(xp.where(noise, 1.0, self.alpha)) - xp.log(xp.where(clean, 1.0, self.sigma)))
        return xp.asarray(xp.where(clean | noise, ends, inside))


@runtime_checkable
class Schedule(Protocol):
    """A path from data to noise, over time."""

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t``: float64 NumPy arrays for NumPy, arrays of JAX for JAX."""
        ...

    def inverse_logsnr(self, logsnr: T) -> T:
        """The time of this log-SNR, which falls as time grows; the nearest end for values beyond the path."""
        ...

    def times(self, steps: int) -> HostArray:
        """The default grid of ``steps`` steps, noise first and clean data last, spaced as in the schedule's paper."""
        ...


def level_at(t: T, alpha: T | np.float64, sigma: T | np.float64) -> NoiseLevel[T]:
    """A level of arrays: results of NumPy without axes are scalars, and become arrays again."""
    xp = array_namespace(t)
    return NoiseLevel(t=xp.asarray(t), alpha=xp.asarray(alpha), sigma=xp.asarray(sigma))


def expand(values: Array, like: Array) -> Array:
    """``values``, one number or one per sample, with trailing axes so that it broadcasts to ``like``."""
    return jnp.reshape(values, values.shape + (1,) * (like.ndim - values.ndim)) if values.ndim else values


def add_noise(x0: X, level: NoiseLevel[jax.Array], key: Key[Array, "..."]) -> tuple[X, X]:
    r"""Draw from $q(x_t \mid x_0)$: return $x_t = \alpha x_0 + \sigma \epsilon$ and $\epsilon$.

    Args:
        x0: clean data, ``(batch, ...)``.
        level: one level, or one per sample.
        key: one key, or one per sample.
    """
    eps = linear_step([x0], jnp.zeros(1), noise_scale=1.0, key=key)
    return diffuse(x0, eps, level), eps


def diffuse(x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
    r"""$\alpha x_0 + \sigma \epsilon$."""
    weights = jnp.stack([level.alpha, level.sigma], axis=-1)
    return linear_step([x0, eps], weights)
