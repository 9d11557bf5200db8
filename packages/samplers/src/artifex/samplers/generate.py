"""Samples from noise: the prior of a table, and the whole of generation in one call."""

from typing import Final

import jax
import jax.numpy as jnp
from jaxtyping import Array

from artifex.kernels import linear_step
from artifex.samplers.sample import sample
from artifex.samplers.tableau import Sampler, Tableau
from artifex.schedules import Clipped, Denoiser, Schedule
from artifex.schedules.arrays import HostArray
from artifex.schedules.shapes import AnyKey, X

FLOAT32: Final = jnp.dtype(jnp.float32)


def generate(
    denoiser: Denoiser,
    sampler: Sampler,
    schedule: Schedule,
    times: HostArray,
    shape: tuple[int, ...],
    key: AnyKey,
    dtype: jnp.dtype = FLOAT32,
    *,
    clip: float | None = None,
) -> X:
    r"""Draw samples: the sampler's table along ``times``, its prior, and ``sample``.

    Args:
        denoiser: gives $x_0$ from a state and its level.
        sampler: the method.
        schedule: the path.
        times: the grid, noise first, such as ``schedule.times(steps)``.
        shape: ``(batch, ...)``.
        key: one key, or one per sample, split into that of the start and that of the steps.
        dtype: of the samples.
        clip: bound of $\hat x_0$ in every step, as by ``Clipped``; None for no bound.

    Raises:
        ValueError: as ``Sampler.tableau``, ``sample`` and ``Clipped``, and if ``times`` begin where there is less noise
            than data and the schedule itself begins in more.
    """
    if clip is not None:
        denoiser = Clipped(denoiser, clip)
    tableau = sampler.tableau(schedule, times)
    if times[0] != schedule.times(1)[0]:
        check_noise(tableau)
    keys = jax.random.split(key) if key.shape == _one(key) else jax.vmap(jax.random.split, out_axes=1)(key)
    return sample(denoiser, tableau, _noise(tableau, shape, keys[0], dtype), keys[1])


def prior(
    tableau: Tableau[HostArray] | Tableau[Array], shape: tuple[int, ...], key: AnyKey, dtype: jnp.dtype = FLOAT32
) -> X:
    r"""Draw the initial state without data: $\sigma z$ at the table's first level.

    Args:
        tableau: the sampler's table.
        shape: ``(batch, ...)``.
        key: one key, or one per sample.
        dtype: of the result.

    Raises:
        ValueError: if a concrete first level has no more noise than data of unit size, $\sigma \le \alpha$; to begin
            at data, see ``start_from``.
    """
    check_noise(tableau)
    return _noise(tableau, shape, key, dtype)


def check_noise(tableau: Tableau[HostArray] | Tableau[Array]) -> None:
    """Raise a ValueError if a concrete first level has no more noise than data."""
    t, alpha, sigma = (level[0] for level in (tableau.level.t, tableau.level.alpha, tableau.level.sigma))
    if not isinstance(alpha, jax.core.Tracer) and not isinstance(sigma, jax.core.Tracer) and not sigma > alpha:
        raise ValueError(
            f"sampling from the prior must begin in noise, with sigma above alpha, got sigma {float(sigma):.3g} and "
            f"alpha {float(alpha):.3g} at time {float(t):g}: take the schedule's own times, schedule.times(steps), or "
            "start from data by start_from"
        )


def _noise(tableau: Tableau[HostArray] | Tableau[Array], shape: tuple[int, ...], key: AnyKey, dtype: jnp.dtype) -> X:
    sigma = jnp.asarray(tableau.level.sigma[0], dtype)
    return linear_step([jnp.zeros(shape, dtype)], jnp.zeros(1), noise_scale=sigma, key=key)


def _one(key: AnyKey) -> tuple[int, ...]:
    """The shape of one key: none of a typed key, the words of a raw one."""
    return () if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key.shape[-1:]
