"""One key and one draw a sample, so that what a sample gets never depends on its neighbours."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key


def sample_keys(key: Array, batch: int) -> Key[Array, " b"]:
    """One key a sample: ``key`` itself where it holds ``batch`` keys, else ``fold_in(key, i)`` for sample ``i``.

    So a sample's noise depends on its own place and never on how many others stand beside it.

    Args:
        key: one key or ``(batch,)`` of them, typed (``jax.random.key``) or raw (``uint32``, one more axis).
        batch: number of samples.

    Raises:
        ValueError: if ``key`` is neither one key nor ``batch`` keys.
    """
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


def draw(keys: Key[Array, " b"], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "b *d"]:
    """``jax.random.normal(key, shape, dtype)`` of each key."""

    def normal(key: Key[Array, ""]) -> Float[Array, "*d"]:
        return jax.random.normal(key, shape, dtype)

    # Only threefry gives a key the same numbers under vmap as alone.
    alike = jax.random.key_impl(keys) == "threefry2x32"
    noise: Array = jax.vmap(normal)(keys) if alike else jax.lax.map(normal, keys)
    return noise
