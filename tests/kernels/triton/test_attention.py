from collections.abc import Mapping
from functools import partial
from typing import Final

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifex.kernels import platform
from artifex.kernels.attention.config import Tile, TritonTiles, triton_tiles
from artifex.kernels.attention.triton import constants, split, triton
from artifex.kernels.attention.triton_kernels import forward_kernel, keys_kernel, queries_kernel
from artifex.kernels.platform import TritonKernel, shaped
from tests.kernels.attentions import (
    CAUSAL,
    CROSS,
    ODD,
    Layout,
    check,
    check_transformed,
    check_unseen,
    inputs,
    machine_sized,
    with_gradient,
)
from tests.kernels.lowering import lowered
from tests.kernels.triton import interpreter
from tests.kernels.triton.cubin import compiled

TILES: Final = TritonTiles(forward=Tile(16, 16, 4, 1), queries=Tile(32, 16, 4, 1), keys=Tile(16, 32, 4, 1))
INTERPRETED: Final = partial(triton, launch=interpreter.launch, tiles=TILES)

# Several tiles each way; heads of two parts, 40 is 32 + 16 and 72 is 64 + 16.
LONG: Final = Layout(b=2, t=37, s=50, h=2, d=40, e=24, bias=(2, 1, 37, 50), is_causal=True)
WIDE: Final = Layout(b=1, t=50, s=35, h=1, d=72, e=72, segments=True)


@pytest.mark.parametrize("layout", [CAUSAL, CROSS, LONG, WIDE], ids=["causal", "cross", "long", "wide"])
def test_the_formula_forward_and_backward(layout: Layout) -> None:
    check(INTERPRETED, layout, inputs(layout, 0), layout.d**-0.5, np.float32)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2.0**-20, 1.0, 2.0**6, 2.0**12]))
def test_scores_of_any_size_on_hidden_keys(seed: int, size: float) -> None:
    check(INTERPRETED, ODD, inputs(ODD, seed, size), -0.7, np.float32)


def test_float16_is_widened_inside() -> None:
    check(INTERPRETED, ODD, inputs(ODD, 0, dtype=np.float16), 0.5, np.float16)


def test_a_token_that_sees_nothing_gets_zeros_and_gives_none() -> None:
    check_unseen(INTERPRETED)


def test_under_vmap_scan_checkpoint_and_shard_map() -> None:
    check_transformed(INTERPRETED)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_lowered_for_a_gpu_that_is_not_there(dtype: str) -> None:
    implementation = partial(triton, launch=partial(platform.launch, compute_capability=90))
    calls = lowered(with_gradient(implementation), *machine_sized(dtype), platform="cuda")
    assert len(calls) == 3
    assert all(name.startswith("triton_kernel_call") for name in calls)


@pytest.mark.parametrize(
    ("width", "parts"),
    [
        *[(1, (16, 0)), (16, (16, 0)), (20, (32, 0)), (40, (32, 16)), (64, (64, 0)), (72, (64, 16)), (80, (64, 16))],
        *[(96, (64, 32)), (112, (128, 0)), (128, (128, 0)), (160, (128, 32)), (256, (256, 0))],
    ],
)
def test_a_head_is_two_tiles_of_powers_of_two(width: int, parts: tuple[int, int]) -> None:
    assert split(width) == parts
    assert sum(parts) >= width


OUT: Final[Mapping[str, tuple[TritonKernel, tuple[str, ...]]]] = {
    "forward": (forward_kernel, ("out", "lse")),
    "queries": (queries_kernel, ("d_out", "lse", "delta", "d_q")),
    "keys": (keys_kernel, ("d_out", "lse", "delta", "d_k", "d_v")),
}


# Bytes a thread: both accumulators of 64 keys fill the registers of 8 warps.
SPILLED: Final = {(256, "keys"): 176}


@pytest.mark.parametrize("which", OUT)
@pytest.mark.parametrize(
    ("width", "dtype", "bare"),
    [
        *[(width, "bf16", True) for width in (64, 72, 128, 160, 256)],
        (72, "bf16", False),
        (72, "fp32", True),
    ],
)
def test_compiled_for_hopper(which: str, width: int, dtype: str, bare: bool) -> None:
    """Bare, or with a bias, a mask, segments and causal."""
    kernel, more = OUT[which]
    of_scores = shaped((1, 1, 1, 1) if bare else (8, 16, 1024, 1024), jnp.int8)
    x = [*[shaped((8, 1024, 16, width), jnp.bfloat16)] * 3, of_scores, of_scores]
    tile: Tile = getattr(triton_tiles(width, width, 4 if dtype == "fp32" else 2), which)
    dtypes = dict.fromkeys(("q", "k", "v", "bias"), dtype)
    dtypes |= {"mask": "i8", "q_segments": "i32", "k_segments": "i32"}
    dtypes |= {name: "fp32" if name in ("lse", "delta") else dtype for name in more}
    given = (False, False, False, False) if bare else (True, True, True, True)
    compiled_for = constants(x, given, tile, width**-0.5)
    cubin = compiled(kernel, dtypes, compiled_for, warps=tile.warps, stages=tile.stages)
    assert cubin.stack <= SPILLED.get((width, which), 0), cubin
    assert (cubin.wgmma > 0) == (dtype == "bf16"), cubin
    assert cubin.wide_loads > 0, cubin
    assert cubin.shared <= 227 * 1024, cubin
