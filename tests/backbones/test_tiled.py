import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import AutoencoderKL, AutoencoderKLConfig, tiled
from artifex.backbones.unet_blocks import avg_pool
from artifex.kernels.convolution import upsample_nearest

pytestmark = pytest.mark.slow

X = jnp.asarray(np.random.default_rng(0).normal(size=(1, 12, 20, 2)), jnp.float32)


def test_what_looks_at_one_place_alone_is_the_same_by_tiles() -> None:
    np.testing.assert_allclose(tiled(upsample_nearest, X, tile=8, overlap=3), upsample_nearest(X), atol=1e-6)
    np.testing.assert_allclose(tiled(avg_pool, X, tile=8, overlap=2), avg_pool(X), atol=1e-6)
    np.testing.assert_array_equal(tiled(jnp.sin, X, tile=32, overlap=8), jnp.sin(X))


def test_neighbours_blend_from_one_to_the_other() -> None:
    def mean(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)

    steps = jnp.repeat(jnp.arange(2.0), 6)[None, None, :, None] * jnp.ones((1, 8, 1, 1))
    row = np.asarray(tiled(mean, steps, tile=8, overlap=4))[0, 4, :, 0]
    np.testing.assert_allclose(row[:4], 0.25, atol=1e-6)
    np.testing.assert_allclose(row[4:8], 0.25 + 0.5 * np.arange(1, 5) / 5, atol=1e-6)
    np.testing.assert_allclose(row[8:], 0.75, atol=1e-6)


def test_an_autoencoder_goes_by_tiles_of_one_shape() -> None:
    config = AutoencoderKLConfig(latent_channels=2, channels=(4, 8), num_res_blocks=1, groups=2)

    def run() -> tuple[jax.Array, jax.Array, jax.Array]:
        model = AutoencoderKL(config, rngs=nnx.Rngs(0))
        return *model.encode_tiled(jnp.zeros((1, 16, 24, 3)), tile=8, overlap=4), model.decode_tiled(
            jnp.zeros((1, 16, 24, 2)), tile=8, overlap=2
        )

    shapes = [leaf.shape for leaf in nnx.eval_shape(run)]
    assert shapes == [(1, 8, 12, 2), (1, 8, 12, 2), (1, 32, 48, 3)]


def test_tiles_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"overlap must be in \[0, 7\], got 8"):
        tiled(upsample_nearest, X, tile=8, overlap=8)
    with pytest.raises(ValueError, match=r"tiles of \(8, 8\) with overlap 3 do not begin at whole pixels"):
        tiled(avg_pool, X, tile=8, overlap=3)
