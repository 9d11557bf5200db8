from collections.abc import Iterator
from functools import partial
from typing import Final

import jax.numpy as jnp
import pytest
from jaxtyping import Array

from artifex.kernels import ImplementationName, platform
from artifex.kernels.guided_combine import api
from artifex.kernels.guided_combine.config import DEFAULT, Config
from artifex.kernels.guided_combine.triton import triton, walking_kernel, whole_kernel
from artifex.kernels.platform import TritonKernel, shaped
from tests.kernels.guided_combines import (
    THRESHOLD,
    check,
    check_bounds,
    check_flat,
    check_quantile,
    check_transforms,
)
from tests.kernels.lowering import lowered
from tests.kernels.stand_in import stand_in
from tests.kernels.triton import interpreter
from tests.kernels.triton.cubin import compiled

BODY: Final[ImplementationName] = "triton"
SMALL: Final = Config(block=128, chunk=128, warps=4)
"""So that a sample of a few hundred numbers is walked over."""


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    """Runs the Triton implementation here."""
    with stand_in(api.IMPLEMENTATIONS, BODY, partial(triton, launch=interpreter.launch, config=SMALL)):
        yield


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 300)])
@pytest.mark.parametrize("kind", ["rescale", "threshold", "both"])
def test_the_formula_forward_and_backward(shape: tuple[int, ...], kind: str) -> None:
    check(BODY, shape, kind in ("rescale", "both"), THRESHOLD if kind in ("threshold", "both") else None, seed=0)


def test_narrow_outputs_are_put_together_wide() -> None:
    check(BODY, (2, 300), True, THRESHOLD, 0, jnp.float16)


def test_scale_1_is_conditional_rescaling_keeps_the_spread_and_the_threshold_bounds() -> None:
    check_bounds(BODY, seed=0)


@pytest.mark.parametrize("quantile", [0.001, 0.73, 1.0])
def test_the_quantile_is_interpolated_and_ties_are_counted(quantile: float) -> None:
    check_quantile(BODY, quantile)


def test_a_sample_without_spread_stays_finite() -> None:
    check_flat(BODY)


def test_under_vmap_scan_and_checkpoint() -> None:
    check_transforms(BODY)


@pytest.mark.parametrize("n", [300, 20000])
def test_lowered_for_a_gpu_that_is_not_there(n: int) -> None:
    def combine(c: Array, u: Array, scale: Array, rescale: Array) -> Array:
        launch = partial(platform.launch, compute_capability=90)
        out: Array = triton(c, u, scale, rescale, THRESHOLD, launch=launch)
        return out

    shapes = [((3, n), jnp.bfloat16)] * 2 + [((3,), jnp.float32)] * 2
    (name,) = lowered(combine, *(shaped(*x) for x in shapes), platform="cuda")
    assert name.startswith("triton_kernel_call")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(("kernel", "n"), [(whole_kernel, 16384), (walking_kernel, 196608)])
def test_compiled_for_a_gpu_that_is_not_there(kernel: TritonKernel, n: int, dtype: str) -> None:
    pointers = {"conditional": dtype, "unconditional": dtype, "scale": "fp32", "rescale": "fp32", "out": dtype}
    block, warps = DEFAULT.fitted(n)
    statistics = {"before": n - 80, "share": 0.5, "limit": 1.0, "ceiling": 9.0}
    constants = {"n": n, "rescaled": True, "thresholded": True, **statistics, "block": block}
    cubin = compiled(kernel, pointers, constants, warps=warps, stages=1)
    assert cubin.stack == 0
    assert cubin.wide_loads >= 2
    assert cubin.registers * 32 * warps <= 65536
