from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.kernels import platform
from artifex.kernels.adaln.config import DEFAULT, Config
from artifex.kernels.adaln.triton import _warps, backward_kernel, forward_kernel, triton
from artifex.kernels.platform import shaped
from artifex.kernels.tiles import power_of_two
from tests.kernels.adalns import EPSILON, IMPLEMENTATIONS, LONE, ODD, Shape, arrays, check, inputs
from tests.kernels.agreement import assert_transforms
from tests.kernels.lowering import lowered
from tests.kernels.triton import interpreter
from tests.kernels.triton.cubin import compiled

# Parts so short that there are several, the last ones not full.
IMPLEMENTATIONS["triton"] = partial(triton, launch=interpreter.launch, config=Config(rows=2))


@pytest.mark.parametrize("shape", [ODD, LONE, (2, 3, 33), (1, 1, 1)])
@pytest.mark.parametrize("size", [2.0**-7, 2.0**7])
def test_the_formula_forward_and_backward(shape: Shape, size: float) -> None:
    check("triton", shape, inputs(shape, 0, size))


def test_narrow_dtypes_are_widened_inside() -> None:
    check("triton", ODD, inputs(ODD, 0, dtype=jnp.float16), jnp.float16)


def test_without_a_branch() -> None:
    x, _, _, scale, shift = arrays(0)

    def f(name: str, x: Array) -> tuple[Array, Array]:
        h, y = IMPLEMENTATIONS[name](x, None, None, scale, shift, EPSILON)
        return h, y

    cotangents = tuple(jnp.asarray(v, jnp.float32) for v in inputs(ODD, 1)[:2])
    for got, want in zip(
        *((*out, *vjp(cotangents)) for out, vjp in (jax.vjp(partial(f, name), x) for name in ("triton", "reference"))),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_under_transformations() -> None:
    def f(x: Array, branch: Array, gate: Array, scale: Array, shift: Array) -> Array:
        h, y = IMPLEMENTATIONS["triton"](x, branch, gate, scale, shift, EPSILON)
        return jnp.stack([h, y], axis=1)

    assert_transforms(f, *(jnp.stack(v) for v in zip(*map(arrays, range(2)), strict=True)), kernel=True)


def test_lowered_for_a_gpu_that_is_not_there() -> None:
    launch = partial(platform.launch, compute_capability=90)

    def both_ways(x: Array, branch: Array, gate: Array, scale: Array, shift: Array) -> object:
        out, vjp = jax.vjp(lambda *args: triton(*args, EPSILON, launch=launch), x, branch, gate, scale, shift)
        return out, vjp(out)

    x, v = shaped((2, 20, 1152), jnp.bfloat16), shaped((2, 1152), jnp.float32)
    assert len(lowered(both_ways, x, x, v, v, v, platform="cuda")) == 2


NARROW: Final = ("x", "h", "y", "branch", "d_h", "d_y", "d_x", "d_branch")


@pytest.mark.parametrize(("channels", "warps", "dtype"), [(1152, 4, "bf16"), (1152, 4, "fp32"), (4096, 8, "bf16")])
def test_compiled_for_a_gpu_that_is_not_there(channels: int, warps: int, dtype: str) -> None:
    forward = ("x", "scale", "shift", "branch", "gate", "h", "y")
    backward = ("h", "scale", "branch", "gate", "d_h", "d_y", "d_x", "d_scale", "d_shift", "d_branch", "d_gate")
    constants: dict[str, int | float | bool] = {
        "channels": channels,
        "tokens": 256,
        "epsilon": EPSILON,
        "gated": True,
        "block": power_of_two(channels),
    }
    assert warps == _warps(DEFAULT, channels)
    parts: dict[str, int | float | bool] = {"parts": 256 // DEFAULT.rows, "rows": DEFAULT.rows}
    for kernel, names, own in ((forward_kernel, forward, {}), (backward_kernel, backward, parts)):
        pointers = {name: dtype if name in NARROW else "fp32" for name in names}
        cubin = compiled(kernel, pointers, constants | own, warps=warps, stages=1)
        assert cubin.stack == 0
        assert cubin.wide_loads > 0
