from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.kernels import platform
from artifex.kernels.platform import shaped
from artifex.kernels.qk_norm_rope.config import DEFAULT, Config
from artifex.kernels.qk_norm_rope.reference import Norm
from artifex.kernels.qk_norm_rope.triton import backward_kernel, forward_kernel, triton
from tests.kernels.agreement import assert_transforms
from tests.kernels.lowering import lowered
from tests.kernels.qk_norms import EPSILON, IMPLEMENTATIONS, NORMS, ODD, check, inputs
from tests.kernels.triton import interpreter
from tests.kernels.triton.cubin import compiled

# Tiles so small that there are several, the last ones not full.
IMPLEMENTATIONS["triton"] = partial(triton, launch=interpreter.launch, config=Config(rows=4))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layout", [ODD, (2, 1, 3, 2, 1, 5), (1, 1, 1, 1, 3, 1)])
@pytest.mark.parametrize("size", [2.0**-7, 2.0**7])
def test_the_formula_forward_and_backward(norm: Norm, layout: tuple[int, ...], size: float) -> None:
    check("triton", norm, inputs(layout, 0, size))


def test_narrow_dtypes_are_widened_inside() -> None:
    check("triton", "rms", inputs(ODD, 0, dtype=jnp.float16), jnp.float16)


def test_under_transformations() -> None:
    stacked = zip(*(inputs(ODD, seed)[:3] for seed in range(2)), strict=True)
    x, gain, angles = (jnp.asarray(np.stack(v), jnp.float32) for v in stacked)

    def f(x: Array, gain: Array, angles: Array) -> Array:
        angles = jax.lax.stop_gradient(angles)
        return IMPLEMENTATIONS["triton"](x, gain[0], jnp.cos(angles), jnp.sin(angles), "layer", EPSILON)

    assert_transforms(f, x, gain[:, None], angles, kernel=True)


def test_lowered_for_a_gpu_that_is_not_there() -> None:
    launch = partial(platform.launch, compute_capability=90)

    def both_ways(x: Array, gain: Array, cos: Array, sin: Array) -> object:
        out, vjp = jax.vjp(lambda *args: triton(*args, cos, sin, "rms", EPSILON, launch=launch), x, gain)
        return out, vjp(out)

    x, turns = shaped((2, 20, 16, 72), jnp.bfloat16), shaped((1, 20, 2, 18), jnp.float32)
    assert len(lowered(both_ways, x, shaped((72,), jnp.float32), turns, turns, platform="cuda")) == 2


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("head_dim", [64, 72, 128])
def test_compiled_for_a_gpu_that_is_not_there(head_dim: int, dtype: str) -> None:
    constants: dict[str, int | float | bool] = {
        "tokens": 256,
        "heads": 16,
        "head_dim": head_dim,
        "pairs": head_dim // 4,
        "parts": 256 * 16 // DEFAULT.rows,
        "gains": False,
        "turns": False,
        "centred": True,
        "epsilon": EPSILON,
        "rows": DEFAULT.rows,
        "block": 64 if head_dim == 64 else 128,
    }
    for kernel, names in (
        (forward_kernel, ("x", "gain", "cos", "sin", "y")),
        (backward_kernel, ("x", "gain", "cos", "sin", "d_y", "d_x", "d_gain")),
    ):
        pointers = {name: dtype if name in ("x", "y", "d_y", "d_x") else "fp32" for name in names}
        cubin = compiled(kernel, pointers, constants, warps=DEFAULT.warps, stages=1)
        assert cubin.stack == 0
        assert cubin.wide_loads > 0
