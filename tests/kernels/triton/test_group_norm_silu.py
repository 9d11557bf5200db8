from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array

from artifex.kernels import platform
from artifex.kernels.group_norm_silu.config import DEFAULT, Config
from artifex.kernels.group_norm_silu.triton import apply_kernel, moments_kernel, pull_kernel, sums_kernel, triton
from artifex.kernels.platform import TritonKernel, shaped
from tests.kernels.agreement import assert_transforms
from tests.kernels.group_norms import (
    EPSILON,
    IMPLEMENTATIONS,
    LONE,
    ODD,
    Shape,
    arrays,
    check,
    check_large_mean,
    inputs,
)
from tests.kernels.lowering import lowered
from tests.kernels.triton import interpreter
from tests.kernels.triton.cubin import compiled

# Tiles so small that there are several, the last ones not full.
IMPLEMENTATIONS["triton"] = partial(triton, launch=interpreter.launch, config=Config(rows=2, columns=4, tiles=2))


@pytest.mark.parametrize(("shape", "groups", "silu"), [(ODD, 2, True), (LONE, 3, False), ((1, 1, 3), 1, True)])
@pytest.mark.parametrize("size", [2.0**-7, 2.0**7])
def test_the_formula_forward_and_backward(shape: Shape, groups: int, silu: bool, size: float) -> None:
    check("triton", shape, groups, inputs(shape, 0, size), silu=silu)


def test_narrow_dtypes_are_widened_inside() -> None:
    check("triton", ODD, 2, inputs(ODD, 0, dtype=jnp.float16), jnp.float16)


def test_a_large_mean_does_not_swallow_the_variance() -> None:
    check_large_mean("triton")


def test_under_transformations() -> None:
    def f(x: Array, weight: Array, bias: Array) -> Array:
        return IMPLEMENTATIONS["triton"](x, weight, bias, 2, EPSILON, True)

    assert_transforms(f, *(jnp.stack(v) for v in zip(*map(arrays, range(2)), strict=True)), kernel=True)


def test_lowered_for_a_gpu_that_is_not_there() -> None:
    launch = partial(platform.launch, compute_capability=90)

    def both_ways(x: Array, weight: Array, bias: Array) -> object:
        out, vjp = jax.vjp(lambda *args: triton(*args, 32, EPSILON, True, launch=launch), x, weight, bias)
        return out, vjp(out)

    x, v = shaped((2, 8, 8, 320), jnp.bfloat16), shaped((2, 320), jnp.float32)
    assert len(lowered(both_ways, x, v, v, platform="cuda")) == 4


KERNELS: Final[dict[str, tuple[TritonKernel, tuple[str, ...], dict[str, int | bool]]]] = {
    "moments": (moments_kernel, ("x", "means", "squares"), {"tiles": DEFAULT.tiles}),
    "apply": (apply_kernel, ("x", "a", "m", "y"), {"silu": True}),
    "sums": (
        sums_kernel,
        ("x", "d_y", "a", "m", "mean", "rstd", "d_bias", "d_weight"),
        {"tiles": DEFAULT.tiles, "silu": True},
    ),
    "pull": (pull_kernel, ("x", "d_y", "a", "m", "p", "q", "d_x"), {"silu": True}),
}


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", KERNELS)
def test_compiled_for_a_gpu_that_is_not_there(name: str, dtype: str) -> None:
    kernel, names, own = KERNELS[name]
    pointers = {name: dtype if name in ("x", "y", "d_y", "d_x") else "fp32" for name in names}
    rows, columns = DEFAULT.rows, DEFAULT.columns
    constants = {"pixels": 4096, "channels": 320, "parts": 32, "rows": rows, "columns": columns, **own}
    cubin = compiled(kernel, pointers, constants, warps=DEFAULT.warps, stages=1)
    assert cubin.stack == 0
    assert cubin.wide_loads > 0
