from collections.abc import Iterator
from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import triton.language as tl
from jaxtyping import Array

from artifex.kernels import ImplementationName, Noise, platform
from artifex.kernels.linear_step import api, philox
from artifex.kernels.linear_step.support import MAX_TERMS
from artifex.kernels.linear_step.triton import step_kernel, threefry_words, triton
from artifex.kernels.platform import shaped, triton_jit
from tests.kernels.linear_steps import (
    check_clip,
    check_drawn_in_the_kernel,
    check_formula,
    check_narrow,
    check_scaled_noise,
    check_standard_normal,
    check_transforms,
    noise,
)
from tests.kernels.lowering import lowered
from tests.kernels.stand_in import stand_in
from tests.kernels.triton import interpreter
from tests.kernels.triton.cubin import compiled

BODY: Final[ImplementationName] = "triton"


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    """Runs the Triton implementation here."""
    with stand_in(api.IMPLEMENTATIONS, BODY, partial(triton, launch=interpreter.launch)):
        yield


@pytest.mark.parametrize(
    ("shape", "count", "each"),
    [((3,), 1, False), ((2, 3, 5), 3, True), ((2, 300), 2, True), ((1, 7), MAX_TERMS, False)],
)
def test_the_formula_forward_and_backward(shape: tuple[int, ...], count: int, each: bool) -> None:
    check_formula(BODY, shape, count, each, 1.0, seed=count)


def test_blocks_of_a_sample() -> None:
    check_formula(BODY, (2, 2500), 2, True, 1.0, seed=0)
    check_drawn_in_the_kernel(BODY, (2, 2500))


def test_narrow_terms_are_summed_wide_and_given_back_narrow() -> None:
    check_narrow(BODY, jnp.float16)


def test_noise_is_scaled_sample_by_sample_and_added_to_the_sum() -> None:
    check_scaled_noise(BODY)


def test_clip_holds_the_result_noise_and_all() -> None:
    check_clip(BODY)


def test_under_vmap_scan_and_checkpoint() -> None:
    check_transforms(BODY)


@triton_jit
def words_kernel(key: tl.tensor, out: tl.tensor, block: tl.constexpr) -> None:
    at = tl.arange(0, block)
    tl.store(out + at, threefry_words(tl.load(key), tl.load(key + 1), at.to(tl.uint32)))


@triton_jit
def philox_kernel(key: tl.tensor, out: tl.tensor, block: tl.constexpr) -> None:
    at = tl.arange(0, block)
    a, b, c, d = tl.randint4x(tl.load(key).to(tl.uint64) | (tl.load(key + 1).to(tl.uint64) << 32), at)
    tl.store(out + at, a.to(tl.uint32))
    tl.store(out + block + at, b.to(tl.uint32))
    tl.store(out + 2 * block + at, c.to(tl.uint32))
    tl.store(out + 3 * block + at, d.to(tl.uint32))


def test_threefry_is_jaxs_bit_for_bit() -> None:
    key = jax.random.key(123)
    out, constants = (shaped((256,), jnp.uint32),), {"block": 256}
    (got,) = interpreter.launch(words_kernel, (1,), (jax.random.key_data(key),), out, constants, warps=4, stages=1)
    np.testing.assert_array_equal(got, jax.random.bits(key, (256,)))


def test_philox_is_tritons_bit_for_bit() -> None:
    key = jax.random.key_data(jax.random.key(2**40 + 9))
    out, constants = (shaped((4, 256), jnp.uint32),), {"block": 256}
    (got,) = interpreter.launch(philox_kernel, (1,), (key,), out, constants, warps=4, stages=1)
    counters = jnp.arange(256, dtype=jnp.uint32)
    np.testing.assert_array_equal(got, jnp.stack(philox.words(key[:1], key[1:], counters)))


def test_philox_draws_standard_normal_numbers_those_of_the_other_implementations_here() -> None:
    key = jax.random.key(5)
    z = np.asarray(noise(BODY, key, 4, 2**14, kind="philox"), np.float64)
    check_standard_normal(z)
    np.testing.assert_allclose(z, noise("xla", key, 4, 2**14, kind="philox"), atol=1e-5)


@pytest.mark.parametrize("kind", ["key", "philox"])
def test_lowered_for_a_gpu_that_is_not_there(kind: Noise) -> None:
    def step(x: Array, weights: Array, scale: Array, words: Array) -> Array:
        launch = partial(platform.launch, compute_capability=90)
        keys = jax.random.wrap_key_data(words)
        out: Array = triton((x, x), weights, scale, keys, 1.0, kind, launch=launch)
        return out

    shapes = [((3, 20, 7), jnp.bfloat16), ((3, 2), jnp.float32), ((3,), jnp.float32), ((3, 2), jnp.uint32)]
    (name,) = lowered(step, *(shaped(*x) for x in shapes), platform="cuda")
    assert name.startswith("triton_kernel_call")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", [None, "key", "philox"])
def test_compiled_for_a_gpu_that_is_not_there(kind: Noise | None, dtype: str) -> None:
    pointers = {f"t{i}": dtype for i in range(MAX_TERMS)} | {"weights": "fp32", "scale": "fp32", "seeds": "u32"}
    drawn = {"threefry": kind == "key", "philox": kind == "philox"}
    constants = {"n": 4096, "blocks": 4, "terms": 3, **drawn, "clip": 1.0, "block": 1024}
    cubin = compiled(step_kernel, pointers | {"out": dtype}, constants, warps=4, stages=1)
    assert cubin.stack == 0
    assert cubin.wide_loads >= 3  # at least one a term
    assert cubin.registers <= 64  # 2048 threads a multiprocessor need 32, 1024 need 64
