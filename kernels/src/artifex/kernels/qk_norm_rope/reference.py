"""The norm of a head and its rotation as the formulas read."""

from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Norm = Literal["rms", "layer"]


def reference(
    x: Float[Array, "b t h d"],
    gain: Float[Array, " d"],
    cos: Float[Array, "#b t a n"],
    sin: Float[Array, "#b t a n"],
    norm: Norm,
    epsilon: float,
) -> Float[Array, "b t h d"]:
    """Normalize and rotate queries or keys; see ``qk_norm_rope``."""
    wide = x.astype(gain.dtype)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True) if norm == "layer" else wide
    z = gain[None, None, None] * centred * lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + epsilon)
    _, _, a, n = cos.shape
    pairs = z.reshape(*x.shape[:3], a, 2, n)
    left, right = pairs[..., 0, :], pairs[..., 1, :]
    cos, sin = cos[:, :, None], sin[:, :, None]
    rotated = jnp.stack([left * cos - right * sin, left * sin + right * cos], axis=-2)
    return rotated.reshape(x.shape).astype(x.dtype)
