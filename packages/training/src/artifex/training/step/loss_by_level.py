r"""The mean loss by noise level, accumulated inside the training step.

Levels are binned by their log-SNR, in bins of width 1 from -12 to 12, the outermost of which include all levels beyond.
So bins are comparable between schedules.
"""

from typing import Final, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

BINS: Final = 24
LIMIT: Final = 12.0
CENTERS: Final = tuple(float(x) for x in np.arange(BINS) + 0.5 - LIMIT)
"""The log-SNR in the middle of each bin."""


class Levels(NamedTuple):
    """Losses by bin.

    Attributes:
        total: sum of the losses, ``(24,)``.
        number: of the losses, ``(24,)``.
    """

    total: Float[Array, "24"]
    number: Float[Array, "24"]


def no_levels() -> Levels:
    """Return empty bins."""
    return Levels(jnp.zeros(BINS, jnp.float32), jnp.zeros(BINS, jnp.float32))


def levels_of(logsnr: Float[Array, " b"], losses: Float[Array, " b"]) -> Levels:
    """Bin the losses of a batch by their log-SNR, which may be infinite."""
    index = jnp.floor(jnp.clip(logsnr, -LIMIT, LIMIT - 0.5) + LIMIT)
    member = index[:, None] == jnp.arange(BINS, dtype=index.dtype)[None]
    return Levels(jnp.sum(jnp.where(member, losses[:, None], 0.0), axis=0), jnp.sum(member, axis=0, dtype=jnp.float32))


def level_means(levels: Levels) -> list[float | None]:
    """Compute the mean of each bin, None for an empty one."""
    total, number = np.asarray(levels.total, np.float64), np.asarray(levels.number, np.float64)
    return [float(t / n) if n else None for t, n in zip(total, number, strict=True)]


def mean_loss(levels: Levels) -> float | None:
    """Compute the mean over all bins, None if they are empty."""
    number = float(np.sum(levels.number))
    return float(np.sum(np.asarray(levels.total, np.float64))) / number if number else None
