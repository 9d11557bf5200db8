"""The tools of this folder on a kernel of four lines, so that a fault of theirs is not taken for one of a kernel's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import triton.language as tl
from jaxtyping import Array

from artifex.kernels import platform
from artifex.kernels.partitioning import batch_parallel
from artifex.kernels.platform import Launch, shaped, triton_jit
from tests.kernels.lowering import lowered
from tests.kernels.triton import interpreter
from tests.kernels.triton.cubin import compiled


@triton_jit
def doubled(x: tl.tensor) -> tl.tensor:
    return x * 2


@triton_jit
def axpy_kernel(
    x: tl.tensor, y: tl.tensor, out: tl.tensor, a: tl.constexpr, n: tl.constexpr, block: tl.constexpr
) -> None:
    row = tl.program_id(1) * n
    at = tl.program_id(0) * block + tl.arange(0, block)
    there = at < n
    total = doubled(tl.load(x + row + at, mask=there)) * (a / 2) + tl.load(y + row + at, mask=there)
    tl.store(out + row + at, total, mask=there)


def axpy(x: Array, y: Array, launch: Launch = platform.launch) -> Array:
    """``0.1 x + y`` of rows."""
    b, n = x.shape
    out = shaped(x.shape, x.dtype)
    constants = {"a": 0.1, "n": n, "block": 128}
    (filled,) = launch(axpy_kernel, (-(-n // 128), b), (x, y), (out,), constants, warps=4, stages=1)
    return filled


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_interpreted_in_jit(dtype: type[np.floating]) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 3, 200)).astype(dtype)
    out = jax.jit(partial(axpy, launch=interpreter.launch))(x, y)
    truth = 0.1 * np.asarray(x, np.float64) + np.asarray(y, np.float64)
    np.testing.assert_allclose(out, truth, atol=4 * float(np.finfo(dtype).eps))


def test_a_batch_of_batches_is_one_batch() -> None:
    x, y = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 3, 5)), jnp.float32)
    f = batch_parallel(lambda x, y: (axpy(x, y, interpreter.launch),))
    np.testing.assert_allclose(jax.jit(jax.vmap(f))(x, y)[0], 0.1 * x + y, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(f, (0, None))(x, y[0])[0], 0.1 * x + y[0], atol=1e-6)


def test_lowered_for_a_gpu_that_is_not_there() -> None:
    x = shaped((3, 200), jnp.bfloat16)
    calls = lowered(partial(axpy, launch=partial(platform.launch, compute_capability=90)), x, x, platform="cuda")
    assert len(calls) == 1
    assert calls[0].startswith("triton_kernel_call")


def test_compiled_for_a_gpu_that_is_not_there() -> None:
    constants = {"a": 0.1, "n": 4096, "block": 2048}
    cubin = compiled(axpy_kernel, {"x": "fp32", "y": "fp32", "out": "fp32"}, constants, warps=4, stages=1)
    assert cubin.stack == 0
    assert cubin.wgmma == 0
    assert cubin.wide_loads > 0
    assert 0 < cubin.registers <= 255
