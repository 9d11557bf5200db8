"""Parameter counts of the published networks, from abstract arrays."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import (
    MMDiT,
    MMDiTConfig,
    UNet,
    UNetConditional,
    UNetConditionalConfig,
    UNetConfig,
    init_rngs,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("build", "count"),
    [
        # Published as 860M and 2.6B; these are the counts of diffusers' class with the published configs.
        (lambda: UNetConditional(UNetConditionalConfig.sd_1(), rngs=init_rngs(0)), 859_520_964),
        (lambda: UNetConditional(UNetConditionalConfig.sdxl(), rngs=init_rngs(0)), 2_567_463_684),
        # Published as 554M.
        (lambda: UNet(UNetConfig.adm_imagenet256(), rngs=init_rngs(0)), 553_838_086),
        (lambda: MMDiT(MMDiTConfig.sd3_medium(), rngs=init_rngs(0)), 2_028_328_000),
        (lambda: MMDiT(MMDiTConfig.sd35_medium(), rngs=init_rngs(0)), 2_243_171_520),
    ],
    ids=["sd-1", "sdxl", "adm-256", "sd3-medium", "sd3.5-medium"],
)
def test_counts(build: Callable[[], nnx.Module], count: int) -> None:
    shapes = nnx.state(nnx.eval_shape(build), nnx.Param)
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes)) == count
