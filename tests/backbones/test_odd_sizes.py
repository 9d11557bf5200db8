"""Sizes that are not divisible by two; the numbers of diffusers are in ``test_golden``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import (
    AutoencoderKL,
    AutoencoderKLConfig,
    TextCondition,
    UNetConditional,
    UNetConditionalConfig,
)
from artifex.backbones.layers import Conv
from artifex.kernels.convolution import resize_nearest, upsample_nearest

pytestmark = pytest.mark.slow

SD = UNetConditionalConfig(
    base_channels=4, channel_mults=(1, 1, 1), num_res_blocks=1, depths=(0, 1, 0), heads=(1, 1, 1),
    context_features=3, groups=2,
)  # fmt: skip
VAE = AutoencoderKLConfig(latent_channels=2, channels=(4, 4, 4), num_res_blocks=1, groups=2)


@pytest.mark.parametrize("size", [(1, 3), (4, 9), (5, 9), (5, 10), (3, 6), (2, 5)])
def test_the_nearest_neighbor(size: tuple[int, int]) -> None:
    """The definition: a pixel of the result is the one in which its upper left corner lies."""
    old, new = size
    x = jnp.arange(old * old, dtype=jnp.float32).reshape(1, old, old, 1)
    got = np.asarray(resize_nearest(x, new, new))
    for i in range(new):
        for j in range(new):
            assert got[0, i, j, 0] == x[0, int(i * old / new + 1e-9), int(j * old / new + 1e-9), 0]


def test_twice_the_size_is_computed_as_before() -> None:
    conv = Conv(2, 3, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 4, 2)), jnp.float32)
    np.testing.assert_array_equal(conv.after_resize(x, 6, 8), conv.after_upsample(x))
    np.testing.assert_array_equal(resize_nearest(x, 6, 8), upsample_nearest(x))


def shape(config: UNetConditionalConfig, height: int, width: int) -> tuple[int, ...]:
    x, cond = jnp.zeros((1, height, width, 4)), TextCondition(jnp.zeros((1, 2, 3)))
    return nnx.eval_shape(lambda: UNetConditional(config, rngs=nnx.Rngs(0))(x, jnp.zeros(1), cond)).shape


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        ({}, (1, 1), None),
        ({"pad": "after"}, (8, 3), "height and width must be at least 4, got 8 and 3"),
        ({"resample": "pool"}, (8, 10), "height and width must be divisible by 4, got 8 and 10"),
        ({"resample": "block"}, (9, 8), "height and width must be divisible by 4, got 9 and 8"),
    ],
)
def test_who_takes_them(change: dict[str, Any], size: tuple[int, int], message: str | None) -> None:
    config = UNetConditionalConfig(**{**vars(SD), **change})
    if message is None:
        assert shape(config, *size) == (1, *size, 4)
    else:
        with pytest.raises(ValueError, match=message):
            shape(config, *size)


@pytest.mark.usefixtures("unhooked")
def test_an_encoder_rounds_down() -> None:
    def encoded() -> list[jax.Array]:
        model = AutoencoderKL(VAE, rngs=nnx.Rngs(0))
        return [model.encode(jnp.zeros((1, *size, 3)))[0] for size in ((9, 11), (4, 7), (10, 15))]

    assert [latent.shape for latent in nnx.eval_shape(encoded)] == [(1, 2, 2, 2), (1, 1, 1, 2), (1, 2, 3, 2)]
    model = nnx.eval_shape(lambda: AutoencoderKL(VAE, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="height and width must be at least 4, got 3 and 8"):
        model.encode(jnp.zeros((1, 3, 8, 3)))
    with pytest.raises(ValueError, match="height and width must be divisible by 4, got 9 and 8"):
        model.encode_tiled(jnp.zeros((1, 9, 8, 3)), tile=4, overlap=0)
