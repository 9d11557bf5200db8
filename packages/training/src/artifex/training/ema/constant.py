r"""Exponential moving average of parameters.

$$\bar\theta_k = d_k\, \bar\theta_{k-1} + (1 - d_k)\, \theta_k,\qquad d_k = \min\!\big(d,\ \tfrac{k}{k + 9}\big)$$

The warm-up forgets the initial parameters within a few updates for any decay: $d_1 = 0.1$.
"""

from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from artifex.kernels.dtypes import accumulation_dtype, common_dtype

P = TypeVar("P")


@dataclass(frozen=True)
class EMA:
    """A constant decay with warm-up.

    Attributes:
        decay: d, in [0, 1).

    Raises:
        ValueError: if ``decay`` is out of range.
    """

    decay: float = 0.995

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {self.decay}")

    def init(self, parameters: P) -> P:
        """Copy the parameters."""
        out: P = jax.tree.map(jnp.array, parameters)
        return out

    def decay_at(self, k: Int[Array, ""] | int) -> Float[Array, ""]:
        """Compute $d_k$ of update ``k``, counted from 1."""
        k = jnp.asarray(k, jnp.float32)
        return jnp.minimum(self.decay, k / (k + 9))

    def update(self, average: P, parameters: P, k: Int[Array, ""] | int) -> P:
        """Update the average with the parameters after update ``k``; every leaf keeps its dtype."""
        return blend(average, parameters, 1 - self.decay_at(k))

    def read(self, average: P) -> P:
        """Return the average."""
        return average


def blend(average: P, parameters: P, share: Float[Array, ""]) -> P:
    """Interpolate from ``average`` to ``parameters`` by ``share``; every leaf keeps its dtype."""

    def move(a: Array, p: Array) -> Array:
        dtype, wide = common_dtype(a.dtype, p.dtype), accumulation_dtype(a.dtype, p.dtype)
        step = (p.astype(dtype) - a.astype(dtype)).astype(wide)
        return (a.astype(wide) + share.astype(wide) * step).astype(a.dtype)

    out: P = jax.tree.map(move, average, parameters)
    return out
