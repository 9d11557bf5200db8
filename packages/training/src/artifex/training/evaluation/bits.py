r"""Bits per dimension: what a code made with the model's density spends on each number of real data.

$$-\frac{1}{d}\,\log_2 p(x + u) - \log_2 w,\qquad u \sim \mathcal U(-w/2, w/2)^d$$

for data of L levels in [-1, 1], a distance $w = 2 / (L - 1)$ apart: dequantised uniformly, its mean is at least what
the best code spends (Theis et al. 2016). Data without levels has no such bound: its bits are of the density itself, and
may be below 0. The density is the samplers', along the probability flow.

References: Theis et al. 2016, https://arxiv.org/abs/1511.01844; Song et al. 2021, https://arxiv.org/abs/2011.13456
"""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from artifex.kernels import sample_keys
from artifex.kernels.ranges import check_whole
from artifex.samplers import bits_per_dim, log_likelihood
from artifex.schedules import Denoiser, Schedule
from artifex.training.evaluation.features import Samples
from artifex.training.evaluation.record import Score, Setting

NEAR: Final = 1e-3
"""The distance that a number may be from its level, in distances between levels: float32 rounds by 256 * 2^-24."""


def likelihood(
    denoise: Denoiser,
    schedule: Schedule,
    samples: Samples,
    start: float,
    end: float,
    key: Key[Array, ""],
    *,
    levels: int | None = 256,
    probes: int | None = 1,
    batch_size: int = 64,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    name: str = "model",
) -> Score:
    """The mean over real samples, with its standard error.

    Each sample draws from a key of its own, so the result does not depend on ``batch_size``, within the tolerance of
    the flow's steps.

    Args:
        denoise: gives $x_0$ from a state and its level.
        schedule: the path.
        samples: real ones, ``(n, ...)``, in [-1, 1] where they have levels.
        start: the time of pure noise, with a finite log-SNR.
        end: the time of data, with a finite log-SNR.
        key: of dequantisation and of the estimate of the divergence.
        levels: L, how many values a number can have, 256 for images of bytes; None leaves samples as they are.
        probes: directions of Hutchinson's estimate of the divergence; None takes it exactly, at the cost of one
            derivative for each dimension.
        batch_size: how many samples go along the flow together.
        rtol: relative tolerance of the flow's steps.
        atol: their absolute tolerance, for a state of unit scale.
        name: of the model.

    Raises:
        ImportError: without diffrax.
        ValueError: for no samples, or samples that are not at one of their levels.
    """
    n, dims = len(samples), int(np.prod(samples.shape[1:]))
    check_whole("batch_size", batch_size, 1)
    if n == 0 or dims == 0:
        raise ValueError(f"samples must be at least 1, got shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("samples must be finite, got NaN or inf")
    width = 1.0 if levels is None else _width(samples, levels)
    keys = jax.vmap(jax.random.split)(sample_keys(key, n))
    bits = np.empty(n)
    for first in range(0, n, batch_size):
        # Filled up with the last sample, so that one shape is compiled.
        rows = np.minimum(np.arange(first, first + min(batch_size, n)), n - 1)
        x = jnp.asarray(samples[rows], jnp.float32)
        if levels is not None:
            x += width * _noise(keys[rows, 0], x)
        found = log_likelihood(
            denoise, schedule, x, start, end, key=None if probes is None else keys[rows, 1],
            probes=1 if probes is None else probes, rtol=rtol, atol=atol,
        )  # fmt: skip
        bits[rows] = np.asarray(bits_per_dim(found, dims, width), np.float64)
    dequantised: Setting = "none" if levels is None else f"uniform, {levels} levels"
    settings: dict[str, Setting] = {
        "dequantised": dequantised,
        "divergence": "exact" if probes is None else f"{probes} Rademacher probes",
        "solver": "Tsit5", "rtol": rtol, "atol": atol, "start": start, "end": end,
    }  # fmt: skip
    error = None if n == 1 else float(bits.std(ddof=1) / np.sqrt(n))
    return Score("bits_per_dim", float(bits.mean()), error, "lower", f"density of {name}", None, n, settings)


@jax.jit
def _noise(keys: Key[Array, " b"], x: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
    draws: Float[Array, "b *d"] = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], minval=-0.5, maxval=0.5))(
        keys
    )
    return draws


def levels_of(samples: Samples) -> int | None:
    """2 or 256, the fewest of these levels in [-1, 1] that hold every number of ``samples``; None where neither does.

    Bits and bytes keep their levels in any file and type; images that were scaled or rotated have left them.
    """
    return next((levels for levels in (2, 256) if _off(samples, levels) <= NEAR), None)


def _off(samples: Samples, levels: int) -> float:
    """The largest distance of a number from the nearest level, in distances between levels."""
    place = (samples.astype(np.float64) + 1) * (levels - 1) / 2
    return float(np.abs(place - np.clip(np.round(place), 0, levels - 1)).max())


def _width(samples: Samples, levels: int) -> float:
    """The distance between levels, after all samples are known to be at one."""
    check_whole("levels", levels, 2)
    width, off = 2 / (levels - 1), _off(samples, levels)
    if off > NEAR:
        raise ValueError(
            f"samples must be at one of {levels} levels in [-1, 1], got one that is {off * width:.3g} away"
        )
    return width
