from functools import cache, partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from artifex.kernels import ImplementationName, attention
from artifex.kernels.attention.pallas import pallas
from artifex.kernels.attention.reference import reference
from artifex.kernels.attention.xla import Tiling, xla
from artifex.kernels.platform import Target
from tests.kernels.attentions import (
    CAUSAL,
    CROSS,
    ODD,
    Implementation,
    Layout,
    check,
    check_transformed,
    check_unseen,
    inputs,
    machine_sized,
    with_gradient,
)
from tests.kernels.lowering import Platform, lowered

pytestmark = pytest.mark.slow

IMPLEMENTATIONS: Final[dict[str, Implementation]] = {
    "reference": reference,
    "tiles": partial(xla, tiling=Tiling(whole=0, scores=1, rows=2)),
    "pallas": partial(pallas, target="interpret", sides=(4, 2)),
}
each_implementation = pytest.mark.parametrize("name", IMPLEMENTATIONS)


@each_implementation
@pytest.mark.parametrize("layout", [CAUSAL, CROSS], ids=["causal", "cross"])
def test_every_implementation_is_the_formula_forward_and_backward(name: str, layout: Layout) -> None:
    check(IMPLEMENTATIONS[name], layout, inputs(layout, 0), layout.d**-0.5, np.float32)


@each_implementation
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2.0**-20, 1.0, 2.0**6, 2.0**12]))
def test_scores_of_any_size_on_hidden_keys(name: str, seed: int, size: float) -> None:
    check(IMPLEMENTATIONS[name], ODD, inputs(ODD, seed, size), -0.7, np.float32)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("reference", jnp.float16),
        ("tiles", jnp.bfloat16),
        ("pallas", jnp.bfloat16),
    ],
)
def test_narrow_dtypes_are_widened_inside(name: str, dtype: npt.DTypeLike) -> None:
    check(IMPLEMENTATIONS[name], ODD, inputs(ODD, 0, dtype=dtype), 0.5, dtype)


@pytest.mark.parametrize("name", ["reference", "tiles"])
def test_float64_stays_float64(name: str) -> None:
    with jax.enable_x64(True):
        check(IMPLEMENTATIONS[name], ODD, inputs(ODD, 0, dtype=np.float64), 0.5, np.float64)


@each_implementation
def test_large_float16_products_do_not_overflow(name: str) -> None:
    q = jnp.asarray(np.full((1, 7, 1, 8), 200.0), jnp.float16)  # q . k is 5 times the largest float16
    v = jnp.asarray(np.arange(7.0).reshape(1, 7, 1, 1), jnp.float16)
    out, lse = jax.jit(IMPLEMENTATIONS[name], static_argnums=(6, 7))(q, q, v, None, None, None, False, 1.0)
    np.testing.assert_allclose(out, np.full((1, 7, 1, 1), 3.0), rtol=2e-3)
    np.testing.assert_allclose(lse, np.full((1, 1, 7), 8 * 200.0**2 + np.log(7)), rtol=1e-6)


# What must hold of any attention, of any size: compiled once an implementation.
seeds = given(seed=st.integers(0, 2**32 - 1))
some = settings(max_examples=15, deadline=None)


@cache
def compiled(name: str) -> Implementation:
    return jax.jit(IMPLEMENTATIONS[name], static_argnums=(6, 7))


def arrays(seed: int) -> tuple[Array, Array, Array, Array]:
    x = inputs(ODD, seed)
    q, k, v, bias = (jnp.asarray(y, jnp.float32) for y in (x.q, x.k, x.v, x.bias))
    return q, k, v, bias


@each_implementation
@some
@seeds
def test_weights_of_a_row_sum_to_one(name: str, seed: int) -> None:
    q, k, v, bias = arrays(seed)
    out, _ = compiled(name)(q, k, jnp.ones_like(v), bias, None, None, False, 0.5)
    np.testing.assert_allclose(out, np.ones(out.shape), rtol=1e-6)


@each_implementation
@some
@seeds
def test_a_shift_of_all_scores_shifts_the_log_sum_exp_alone(name: str, seed: int) -> None:
    q, k, v, bias = arrays(seed)
    out, lse = compiled(name)(q, k, v, bias, None, None, False, 0.5)
    shifted, moved = compiled(name)(q, k, v, bias + 16, None, None, False, 0.5)
    np.testing.assert_allclose(shifted, out, atol=2e-5)
    np.testing.assert_allclose(moved, lse + 16, atol=1e-5)


@each_implementation
@some
@seeds
def test_order_of_keys_does_not_matter(name: str, seed: int) -> None:
    q, k, v, bias = arrays(seed)
    order = np.random.default_rng(seed).permutation(ODD.s)
    out, lse = compiled(name)(q, k, v, bias, None, None, False, 0.5)
    same, lse_too = compiled(name)(q, k[:, order], v[:, order], bias[..., order], None, None, False, 0.5)
    np.testing.assert_allclose(same, out, atol=1e-5)
    np.testing.assert_allclose(lse_too, lse, atol=1e-5)


@each_implementation
@some
@seeds
def test_order_of_queries_is_kept(name: str, seed: int) -> None:
    q, k, v, bias = arrays(seed)
    order = np.random.default_rng(seed).permutation(ODD.t)
    out, lse = compiled(name)(q, k, v, bias, None, None, False, 0.5)
    moved, lse_too = compiled(name)(q[:, order], k, v, bias[:, :, order], None, None, False, 0.5)
    np.testing.assert_allclose(moved, out[:, order], atol=1e-5)
    np.testing.assert_allclose(lse_too, lse[:, :, order], atol=1e-5)


@pytest.mark.parametrize(
    "implementation",
    [
        xla,
        partial(xla, tiling=Tiling(whole=0, scores=1, rows=36, by_head=False)),
        partial(pallas, target="interpret", sides=(1, 8)),
        partial(pallas, target="interpret"),
    ],
)
def test_any_tile_gives_the_same(implementation: Implementation) -> None:
    layout = Layout(b=1, t=37, s=13, h=2, d=4, e=4, bias=(1, 1, 37, 13), is_causal=True)
    x = inputs(layout, 0)
    q, k, v, bias = (jnp.asarray(y, jnp.float32) for y in (x.q, x.k, x.v, x.bias))
    want = reference(q, k, v, bias, None, None, True, 0.5)
    for a, b in zip(implementation(q, k, v, bias, None, None, True, 0.5), want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@each_implementation
def test_hidden_by_mask_by_bias_by_segments_or_not_there(name: str) -> None:
    q, k, v, _ = arrays(0)
    there = np.asarray([True, False, True, True, False])
    out, lse = compiled(name)(q, k[:, there], v[:, there], None, None, None, False, 0.5)
    every = np.ones(5, np.bool_)
    for by_bias, by_mask, by_segments in ((there, every, every), (every, there, every), (every, every, there)):
        bias = jnp.asarray(np.where(by_bias, 0, -np.inf).reshape(1, 1, 1, 5), jnp.float32)
        mask = jnp.asarray(by_mask.reshape(1, 1, 1, 5))
        segments = jnp.full((2, 7), 3), jnp.asarray(np.where([by_segments, by_segments], 3, -1), jnp.int32)
        same, lse_too = compiled(name)(q, k, v, bias, mask, segments, False, 0.5)
        np.testing.assert_allclose(same, out, atol=1e-6)
        np.testing.assert_allclose(lse_too, lse, atol=1e-6)


@each_implementation
def test_a_token_that_sees_nothing_gets_zeros_and_gives_none(name: str) -> None:
    check_unseen(IMPLEMENTATIONS[name])


@each_implementation
def test_bad_numbers_are_not_hidden(name: str) -> None:
    x = inputs(ODD, 0)
    x.q[0, 0, 0, 0] = np.nan
    q, k, v = (jnp.asarray(y, jnp.float32) for y in (x.q, x.k, x.v))
    out, lse = jax.tree.map(np.asarray, compiled(name)(q, k, v, None, None, None, False, 0.5))
    assert np.all(np.isnan(out[0, 0, 0]))
    assert np.isnan(lse[0, 0, 0])
    assert np.all(np.isfinite(out[1]))


@pytest.mark.parametrize("name", ["reference", "tiles"])
def test_forward_mode_is_the_transpose_of_reverse_mode(name: str) -> None:
    q, k, v, bias = arrays(2)
    rng = np.random.default_rng(0)

    def f(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        return IMPLEMENTATIONS[name](q, k, v, bias, None, None, False, 0.5)

    tangent = tuple(jnp.asarray(rng.normal(size=x.shape), jnp.float32) for x in (q, k, v))
    cotangent = tuple(jnp.asarray(rng.normal(size=n), jnp.float32) for n in ((2, 7, 3, 4), (2, 3, 7)))

    @jax.jit
    def run() -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        return jax.jvp(f, (q, k, v), tangent)[1], jax.vjp(f, q, k, v)[1](cotangent)

    moved, back = run()
    forth = sum(float(np.vdot(a, b)) for a, b in zip(cotangent, moved, strict=True))
    np.testing.assert_allclose(sum(float(np.vdot(a, b)) for a, b in zip(back, tangent, strict=True)), forth, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiles", "pallas"])
def test_under_vmap_scan_checkpoint_and_shard_map(name: str) -> None:
    check_transformed(IMPLEMENTATIONS[name], check_vma=name != "pallas")


@pytest.mark.parametrize(("target", "machine", "call"), [("gpu", "cuda", "triton"), ("tpu", "tpu", "tpu_custom_call")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pallas_is_lowered_for_devices_that_are_not_there(
    target: Target, machine: Platform, call: str, dtype: str
) -> None:
    calls = lowered(with_gradient(partial(pallas, target=target)), *machine_sized(dtype), platform=machine)
    assert len(calls) == 3
    assert all(call in name for name in calls)


def test_memory_of_a_long_row_with_its_gradient_is_that_of_tiles() -> None:
    t, heads = 4096, 4
    x = jax.eval_shape(lambda: jnp.zeros((1, t, heads, 16)))

    def loss(q: Array, k: Array, v: Array) -> Array:
        return jnp.sum(attention(q, k, v) ** 2)

    memory = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(x, x, x).compile().memory_analysis()
    assert memory is not None
    scores = 4 * heads * t * t
    assert memory.temp_size_in_bytes < scores / 10


def test_arguments_reach_the_implementation() -> None:
    q, k, v, bias = arrays(0)
    visible = jnp.arange(5) < 3
    of_q, of_k = jnp.asarray(np.arange(14).reshape(2, 7) % 2), jnp.asarray(np.arange(10).reshape(2, 5) % 2)
    choices: tuple[tuple[ImplementationName | None, Implementation], ...] = (
        ("reference", reference),
        ("xla", xla),
        (None, xla),
    )
    for name, implementation in choices:
        want = implementation(q, k, v, bias, visible.reshape(1, 1, 1, 5), (of_q, of_k), True, 0.3)
        given = partial(
            attention, q, k, v, bias=bias[0], mask=visible, segment_ids=(of_q, of_k), is_causal=True, scale=0.3
        )
        got = given(return_lse=True, implementation=name)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(attention(q, k, v), xla(q, k, v, None, None, None, False, 3**-0.5)[0])
    same = jnp.asarray(np.arange(14).reshape(2, 7) % 3, jnp.int8)
    want = xla(q, q, q, None, None, (same, same), False, 3**-0.5)[0]
    np.testing.assert_array_equal(attention(q, q, q, segment_ids=same), want)
