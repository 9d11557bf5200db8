"""Noise from one key per sample, so that it does not depend on the rest of the batch."""

import math
from collections.abc import Callable
from typing import Final, Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, UInt32

from artifex.kernels.linear_step import philox
from artifex.kernels.ranges import check_whole

Noise = Literal["key", "philox"]
"""``key`` is what ``jax.random.normal`` draws from each sample's key; ``philox`` is cheaper in ``triton``."""

THREEFRY: Final = "threefry2x32"
"""The name of JAX's default generator."""

KeyWords = UInt32[Array, "b w"]
"""The words of each sample's generator."""


def sample_keys(key: Array, batch: int) -> Key[Array, " b"]:
    """One key per sample: ``key`` itself where it holds ``batch`` keys, else ``fold_in(key, i)`` for sample ``i``.

    So a sample's noise depends on its index and not on the size of the batch.

    Args:
        key: one key or ``(batch,)`` of them, typed (``jax.random.key``) or raw (``uint32``, one more axis).
        batch: number of samples.

    Raises:
        ValueError: for another number of keys than 1 or ``batch``, or a negative ``batch``.
    """
    check_whole("batch", batch, 0)
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        typed = key
    elif key.dtype == jnp.uint32 and key.ndim > 0:
        typed = jax.random.wrap_key_data(key)
    else:
        raise ValueError(f"key must come from jax.random.key or PRNGKey, got {key.dtype} of shape {key.shape}")
    if typed.shape == ():
        return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(typed, jnp.arange(batch))
    if typed.shape != (batch,):
        raise ValueError(f"key must be one key or {batch} keys, one a sample, got keys of shape {typed.shape}")
    return typed


def seeds(keys: Key[Array, " b"], noise: Noise) -> KeyWords:
    """The words of each generator: those of the key, or two for philox, drawn from it."""
    if noise == "key":
        return jax.random.key_data(keys)

    def two(key: Key[Array, ""]) -> UInt32[Array, " 2"]:
        return jax.random.bits(key, (2,), jnp.uint32)

    drawn: Array = _over(keys, two)
    return drawn


def draw(keys: Key[Array, " b"], shape: tuple[int, ...], dtype: DTypeLike, noise: Noise) -> Float[Array, "b *d"]:
    """Normal numbers of each key: ``jax.random.normal(key, shape, dtype)``, or float32 ones by philox as ``dtype``."""
    if noise == "philox":
        words = seeds(keys, noise)
        return philox.normal(words[:, :1], words[:, 1:], math.prod(shape)).astype(dtype).reshape(keys.shape + shape)

    def normal(key: Key[Array, ""]) -> Float[Array, "*d"]:
        return jax.random.normal(key, shape, dtype)

    drawn: Array = _over(keys, normal)
    return drawn


def _over(keys: Key[Array, " b"], function: Callable[[Key[Array, ""]], Array]) -> Array:
    """``function`` of every key; only threefry draws the same numbers under vmap as alone."""
    vectorizes = jax.random.key_impl(keys) == THREEFRY
    over: Array = jax.vmap(function)(keys) if vectorizes else jax.lax.map(function, keys)
    return over
