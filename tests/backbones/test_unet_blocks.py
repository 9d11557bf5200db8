from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones.unet_blocks import AttentionBlock, ResBlock, avg_pool
from artifex.kernels.convolution import upsample_nearest

pytestmark = pytest.mark.slow

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(0)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def test_halving_averages_and_doubling_repeats() -> None:
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(avg_pool(x)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(
        upsample_nearest(avg_pool(x))[0, :, :, 0], np.kron([[2.5, 4.5], [10.5, 12.5]], np.ones((2, 2)))
    )
    np.testing.assert_array_equal(avg_pool(upsample_nearest(x)), x)


def test_sides_are_not_confused() -> None:
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    assert avg_pool(x).shape == (2, 2, 3, 3)
    np.testing.assert_array_equal(upsample_nearest(x), np.repeat(np.repeat(x, 2, axis=1), 2, axis=2))


@pytest.mark.parametrize("scale_shift", [False, True])
def test_a_residual_block_starts_as_its_skip(scale_shift: bool) -> None:
    @jit
    def run(x: jax.Array, emb: jax.Array) -> tuple[jax.Array, ...]:
        same = ResBlock(8, 8, 5, groups=4, scale_shift=scale_shift, rngs=nnx.Rngs(0))
        other = ResBlock(8, 4, 5, groups=4, scale_shift=scale_shift, rngs=nnx.Rngs(0))
        assert other.skip is not None
        return same(x, emb), other(x, emb), other.skip(x)

    x, emb = normal(2, 4, 4, 8), normal(2, 5)
    same, other, skip = run(x, emb)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(other, skip)


def test_an_attention_block_starts_as_the_identity() -> None:
    x = normal(2, 4, 4, 8)
    np.testing.assert_array_equal(jit(lambda x: AttentionBlock(8, 2, groups=4, rngs=nnx.Rngs(0))(x))(x), x)
