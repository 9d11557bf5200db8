"""EDM2-XS at the size it was published for, before training: the magnitude of its activations at every depth.

    uv run pytest bench/bench_edm2.py

Half a minute and 4 GB, too much for the tests; those look at small networks whose attention mixes nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from artifex.backbones import EDM2Config, EDM2UNet


def test_activations_have_unit_magnitude_at_every_depth() -> None:
    """0.906, in the blocks with attention, to 1.018."""

    @jax.jit
    def magnitudes(key: jax.Array) -> jax.Array:
        model = EDM2UNet(EDM2Config.xs(), rngs=nnx.Rngs(0))
        _, activations = model.run(jax.random.normal(key, (1, 64, 64, 4)), jnp.zeros(1), jnp.array([3]))
        return jnp.stack([jnp.sqrt(jnp.mean(h * h)) for h in activations])

    found = magnitudes(jax.random.key(1))
    assert found.shape == (37,)
    np.testing.assert_allclose(found, 1.0, atol=0.1)
