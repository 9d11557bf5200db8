"""The random keys of a run."""

import jax


def init_key(seed: int) -> jax.Array:
    """Return the key of the initial parameters; see ``sampling_key``."""
    return jax.random.split(jax.random.key(seed))[0]


def sampling_key(seed: int) -> jax.Array:
    """Return the key of previews, and of samples that are drawn after training."""
    return jax.random.split(jax.random.key(seed))[1]
