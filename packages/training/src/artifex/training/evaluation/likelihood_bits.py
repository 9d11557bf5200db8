r"""Bits per dimension: the length of a code for real data, made with the model's density.

$$-\frac{1}{d}\,\log_2 p(x + u) - \log_2 w,\qquad u \sim \mathcal U(-w/2, w/2)^d$$

for data of L levels in [-1, 1] at a distance of $w = 2 / (L - 1)$: with uniform dequantization its mean is an upper
bound of the best code's length (Theis et al. 2016). For data without levels the bits are those of the density itself,
and may be negative. The density is that of the probability flow.

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
from artifex.training.evaluation.score import Score, Setting

NEAR: Final = 1e-3
"""Tolerance of a value's distance from its level, relative to the distance between levels."""


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
    """Compute the mean over real samples, with its standard error.

    Each sample has its own key, so the result does not depend on ``batch_size``, up to the tolerance of the flow.

    Args:
        denoise: predicts $x_0$ from a state and its level.
        schedule: the path.
        samples: real samples, ``(n, ...)``, in [-1, 1] if they have levels.
        start: the time of pure noise, with a finite log-SNR.
        end: the time of data, with a finite log-SNR.
        key: of the dequantization and of the divergence estimate.
        levels: L, the number of values, 256 for images of bytes; None skips the dequantization.
        probes: number of directions of Hutchinson's divergence estimator; None computes it exactly, at the cost of one
            derivative for each dimension.
        batch_size: number of samples integrated together.
        rtol: relative tolerance of the flow's steps.
        atol: their absolute tolerance, for a state of unit scale.
        name: of the model.

    Raises:
        ImportError: without diffrax.
        ValueError: for no samples, or values that are not at a level.
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
        # Padded with the last sample, so that one shape is compiled.
        rows = np.minimum(np.arange(first, first + min(batch_size, n)), n - 1)
        x = jnp.asarray(samples[rows], jnp.float32)
        if levels is not None:
            x += width * _noise(keys[rows, 0], x)
        found = log_likelihood(
            denoise, schedule, x, start, end, key=None if probes is None else keys[rows, 1],
            probes=1 if probes is None else probes, rtol=rtol, atol=atol,
        )  # fmt: skip
        bits[rows] = np.asarray(bits_per_dim(found, dims, width), np.float64)
    dequantization: Setting = "none" if levels is None else f"uniform, {levels} levels"
    settings: dict[str, Setting] = {
        "dequantization": dequantization,
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
    """Return 2 or 256, the smaller number of levels in [-1, 1] that includes every value; None if neither does.

    Bits and bytes keep their levels in any file and dtype; resized or rotated images do not.
    """
    return next((levels for levels in (2, 256) if _off(samples, levels) <= NEAR), None)


def _off(samples: Samples, levels: int) -> float:
    """Return the largest distance of a value from the nearest level, relative to the distance between levels."""
    index = (samples.astype(np.float64) + 1) * (levels - 1) / 2
    return float(np.abs(index - np.clip(np.round(index), 0, levels - 1)).max())


def _width(samples: Samples, levels: int) -> float:
    """Return the distance between levels after checking that all values are at one."""
    check_whole("levels", levels, 2)
    width, off = 2 / (levels - 1), _off(samples, levels)
    if off > NEAR:
        raise ValueError(
            f"samples must be at one of {levels} levels in [-1, 1], got one that is {off * width:.3g} away"
        )
    return width
