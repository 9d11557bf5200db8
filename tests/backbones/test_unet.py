import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import UNet, UNetConfig

pytestmark = pytest.mark.slow

SMALL = UNetConfig(base_channels=8, channel_mults=(1, 2), num_res_blocks=1, attention_levels=(), head_dim=8, groups=4)


def test_ddpm_parameter_count() -> None:
    """35.7 million for CIFAR-10 in DDPM's paper; this is the exact count of its released network."""
    shapes = nnx.state(nnx.eval_shape(lambda: UNet(UNetConfig.ddpm_cifar10(), rngs=nnx.Rngs(0))), nnx.Param)
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)) == 35_746_307


@pytest.mark.parametrize(
    ("change", "height", "width"),
    [
        ({}, 8, 6),
        ({"channel_mults": (1,)}, 3, 5),
        ({"channel_mults": (1, 1, 2), "num_res_blocks": 2, "attention_levels": (0, 2)}, 8, 12),
        ({"channel_mults": (2, 1, 3), "resample": "pool", "head_dim": None}, 4, 8),
    ],
)
def test_shapes(change: dict[str, tuple[int, ...]], height: int, width: int) -> None:
    config = dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
    x = jnp.zeros((2, height, width, 3))
    out = nnx.eval_shape(lambda: UNet(config, rngs=nnx.Rngs(0))(x, jnp.zeros(2)))
    assert out.shape == x.shape
    wider = dataclasses.replace(config, learn_sigma=True)
    assert nnx.eval_shape(lambda: UNet(wider, rngs=nnx.Rngs(0))(x, jnp.zeros(2))).shape == (2, height, width, 6)


def test_attention_is_where_it_is_asked_for() -> None:
    config = dataclasses.replace(SMALL, channel_mults=(1, 2, 2), attention_levels=(1,))
    model = nnx.eval_shape(lambda: UNet(config, rngs=nnx.Rngs(0)))
    down, up = ([stage for level in levels for stage in level.blocks] for levels in (model.core.down, model.core.up))
    assert [stage.attention is not None for stage in down] == [False, True, False]
    assert [stage.attention is not None for stage in model.core.middle] == [True, False]
    assert [stage.attention is not None for stage in up] == [False, False, True, True, False, False]


def test_digits_fit_their_images() -> None:
    config = UNetConfig.digits()
    x = jnp.zeros((2, 8, 8, 1))
    assert nnx.eval_shape(lambda: UNet(config, rngs=nnx.Rngs(0))(x, jnp.zeros(2))).shape == x.shape
    assert config.num_classes == 10


@pytest.mark.parametrize(("height", "width"), [(8, 7), (5, 8)])
def test_sizes_that_do_not_halve_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"height and width must be divisible by 2, got {height} and {width}"):
        nnx.eval_shape(lambda: UNet(SMALL, rngs=nnx.Rngs(0))(jnp.zeros((1, height, width, 3)), jnp.zeros(1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_res_blocks": 0}, "num_res_blocks must be at least 1, got 0"),
        ({"base_channels": 2}, "base_channels must be even and at least 4, got 2"),
        ({"channel_mults": ()}, r"channel_mults must be positive and not empty, got \(\)"),
        ({"channel_mults": (1, 0)}, r"channel_mults must be positive and not empty, got \(1, 0\)"),
        ({"attention_levels": (2,)}, r"attention_levels must be in \[0, 1\], got \(2,\)"),
        ({"groups": 16}, r"groups must divide the channels \(8, 16\) of every level, got 16"),
        ({"head_dim": 5}, r"head_dim must divide the channels \(8, 16\) where there is attention, got 5"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"num_classes": 0}, "num_classes must be None or at least 1, got 0"),
    ],
)
def test_bad_configs_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
