r"""The mean loss by noise level, kept inside the training step: where on the path a network still learns.

Levels are told apart by their log-SNR, in bins of width 1 from -12 to 12; what lies beyond is counted in the last bin
on its side. A bin means the same on every path.
"""

from typing import Final, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

BINS: Final = 24
LIMIT: Final = 12.0
CENTRES: Final = tuple(float(x) for x in np.arange(BINS) + 0.5 - LIMIT)
"""The log-SNR in the middle of each bin."""


class Levels(NamedTuple):
    """Losses by bin.

    Attributes:
        total: sum of the losses, ``(24,)``.
        number: how many they are, ``(24,)``.
    """

    total: Float[Array, "24"]
    number: Float[Array, "24"]


def no_levels() -> Levels:
    """Before the first loss."""
    return Levels(jnp.zeros(BINS, jnp.float32), jnp.zeros(BINS, jnp.float32))


def levels_of(logsnr: Float[Array, " b"], losses: Float[Array, " b"]) -> Levels:
    """The losses of a batch by their levels, which may be infinite."""
    place = jnp.floor(jnp.clip(logsnr, -LIMIT, LIMIT - 0.5) + LIMIT)
    here = place[:, None] == jnp.arange(BINS, dtype=place.dtype)[None]
    return Levels(jnp.sum(jnp.where(here, losses[:, None], 0.0), axis=0), jnp.sum(here, axis=0, dtype=jnp.float32))


def level_means(levels: Levels) -> list[float | None]:
    """The mean of each bin, None for one without a loss."""
    total, number = np.asarray(levels.total, np.float64), np.asarray(levels.number, np.float64)
    return [float(t / n) if n else None for t, n in zip(total, number, strict=True)]


def mean_loss(levels: Levels) -> float | None:
    """The mean over all bins, None without a loss."""
    number = float(np.sum(levels.number))
    return float(np.sum(np.asarray(levels.total, np.float64))) / number if number else None
