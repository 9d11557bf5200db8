from collections.abc import Callable
from dataclasses import dataclass
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

from artifex.kernels import Implementation, attention
from artifex.kernels.attention.reference import reference
from artifex.kernels.attention.xla import Tiling, xla
from tests.kernels import exact
from tests.kernels.exact import Hidden, Host
from tests.kernels.tolerance import rounding, spacing, wide

Body = Callable[[Array, Array, Array, Array | None, Array | None, bool, float], tuple[Array, Array]]

BODIES: Final[dict[str, Body]] = {
    "reference": reference,
    "xla": xla,
    "tiles": partial(xla, tiling=Tiling(whole=0, scores=1, rows=2)),
    "wide tiles": partial(xla, tiling=Tiling(whole=0, scores=1, rows=3, by_head=False)),
}
every_body = pytest.mark.parametrize("name", BODIES)
# The code of all four: whole or in tiles is one function.
each_body = pytest.mark.parametrize("name", ["reference", "tiles"])


@dataclass(frozen=True)
class Layout:
    """What an attention is compiled for."""

    b: int
    t: int
    s: int
    h: int
    d: int
    e: int
    bias: tuple[int, ...] | None
    mask: tuple[int, ...] | None
    is_causal: bool

    @property
    def scores(self) -> tuple[int, int, int, int]:
        return self.b, self.h, self.t, self.s


ODD: Final = Layout(b=2, t=7, s=5, h=3, d=3, e=4, bias=(1, 3, 7, 5), mask=(2, 1, 1, 5), is_causal=False)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    b, h, t, s = full = tuple(draw(st.integers(1, n)) for n in (2, 3, 9, 11))
    broadcast = st.none() | st.tuples(*(st.sampled_from([1, n]) for n in full))
    d, e = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return Layout(b, t, s, h, d, e, draw(broadcast), draw(broadcast), draw(st.booleans()))


@dataclass(frozen=True)
class Inputs:
    q: Host
    k: Host
    v: Host
    bias: Host | None
    mask: Hidden | None
    d_out: Host
    d_lse: Host


def inputs(layout: Layout, seed: int, size: float = 1.0, dtype: npt.DTypeLike = np.float32) -> Inputs:
    """Normal numbers that ``dtype`` holds exactly, ``q`` ``size`` times as large; about half of the keys are hidden."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Host:
        return np.asarray(rng.normal(size=shape).astype(dtype), np.float64)

    b, t, s, h, d, e = layout.b, layout.t, layout.s, layout.h, layout.d, layout.e
    return Inputs(
        q=normal(b, t, h, d) * size,
        k=normal(b, s, h, d),
        v=normal(b, s, h, e),
        bias=None if layout.bias is None else normal(*layout.bias),
        mask=None if layout.mask is None else rng.random(layout.mask) < 0.5,
        d_out=normal(b, t, h, e),
        d_lse=normal(b, h, t),
    )


@cache
def both_ways(name: str, is_causal: bool, scale: float) -> Callable[..., tuple[Array, Array, tuple[Array, ...]]]:
    """Forward and vjp of a body in one program."""

    @jax.jit
    def run(
        q: Array, k: Array, v: Array, bias: Array | None, mask: Array | None, d_out: Array, d_lse: Array
    ) -> tuple[Array, Array, tuple[Array, ...]]:
        def f(q: Array, k: Array, v: Array, bias: Array | None) -> tuple[Array, Array]:
            return BODIES[name](q, k, v, bias, mask, is_causal, scale)

        (out, lse), vjp = jax.vjp(f, q, k, v, bias)
        return out, lse, vjp((d_out, d_lse))

    return run


def check(name: str, layout: Layout, x: Inputs, scale: float, dtype: npt.DTypeLike) -> None:
    """Holds a body's numbers and gradients to float64's, within the rounding of ``dtype`` and of sums so long."""
    dtype = np.dtype(dtype)
    fine = spacing(wide(dtype))
    q, k, v, d_out = (jnp.asarray(y, dtype) for y in (x.q, x.k, x.v, x.d_out))
    bias = None if x.bias is None else jnp.asarray(x.bias, dtype)
    mask = None if x.mask is None else jnp.asarray(x.mask)
    out, lse, grads = both_ways(name, layout.is_causal, scale)(
        q, k, v, bias, mask, d_out, jnp.asarray(x.d_lse, wide(dtype))
    )

    seen = np.broadcast_to(np.bool_(True) if x.mask is None else x.mask, layout.scores)
    if layout.is_causal:
        seen = seen & np.tri(layout.t, layout.s, dtype=np.bool_)
    added = np.broadcast_to(np.float64(0) if x.bias is None else x.bias, layout.scores)
    args = (x.q, x.k, x.v, added, seen, scale, x.d_out, x.d_lse)
    truth, size = exact.attention(*args), exact.attention(*args, sizes=True)

    products = abs(scale) * np.einsum("bthd,bshd->bhts", np.abs(x.q), np.abs(x.k)) + np.abs(added)
    length = (layout.d + 4) * float(products.max()) + layout.d + layout.e + layout.s + layout.t * layout.b * layout.h

    def close(got: Array, want: Host, size: float) -> None:
        assert got.dtype == dtype
        np.testing.assert_allclose(np.asarray(got, np.float64), want, rtol=0, atol=rounding(dtype, length) * size)

    assert lse.dtype == wide(dtype)
    np.testing.assert_allclose(lse, truth.lse, rtol=4 * fine, atol=2 * fine * length)
    close(out, truth.out, np.abs(x.v).max())
    close(grads[0], truth.d_q, size.d_q.max())
    close(grads[1], truth.d_k, size.d_k.max())
    close(grads[2], truth.d_v, size.d_v.max())
    if x.bias is not None:
        close(grads[3], exact.folded(truth.d_bias, x.bias.shape), exact.folded(size.d_bias, x.bias.shape).max())


@settings(max_examples=8, deadline=None)
@given(name=st.sampled_from(list(BODIES)), layout=layouts(), seed=st.integers(0, 2**32 - 1))
def test_every_body_is_the_formula_forward_and_backward(name: str, layout: Layout, seed: int) -> None:
    check(name, layout, inputs(layout, seed), layout.d**-0.5, np.float32)


@every_body
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2.0**-20, 1.0, 2.0**6, 2.0**12]))
def test_scores_of_any_size_on_hidden_keys(name: str, seed: int, size: float) -> None:
    check(name, ODD, inputs(ODD, seed, size), -0.7, np.float32)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@each_body
def test_narrow_dtypes_are_widened_inside(name: str, dtype: npt.DTypeLike) -> None:
    check(name, ODD, inputs(ODD, 0, dtype=dtype), 0.5, dtype)


@each_body
def test_float64_stays_float64(name: str) -> None:
    with jax.enable_x64(True):
        check(name, ODD, inputs(ODD, 0, dtype=np.float64), 0.5, np.float64)


@each_body
def test_large_float16_products_do_not_overflow(name: str) -> None:
    q = jnp.asarray(np.full((1, 7, 1, 8), 200.0), jnp.float16)  # q . k is 5 times the largest float16
    v = jnp.asarray(np.arange(7.0).reshape(1, 7, 1, 1), jnp.float16)
    out, lse = jax.jit(BODIES[name], static_argnums=(5, 6))(q, q, v, None, None, False, 1.0)
    np.testing.assert_allclose(out, np.full((1, 7, 1, 1), 3.0), rtol=2e-3)
    np.testing.assert_allclose(lse, np.full((1, 1, 7), 8 * 200.0**2 + np.log(7)), rtol=1e-6)


# What must hold of any attention, of any size: compiled once a body.
seeds = given(seed=st.integers(0, 2**32 - 1))
some = settings(max_examples=15, deadline=None)


@cache
def compiled(name: str) -> Body:
    return jax.jit(BODIES[name], static_argnums=(5, 6))


def arrays(seed: int) -> tuple[Array, Array, Array, Array]:
    x = inputs(ODD, seed)
    q, k, v, bias = (jnp.asarray(y, jnp.float32) for y in (x.q, x.k, x.v, x.bias))
    return q, k, v, bias


@each_body
@some
@seeds
def test_weights_of_a_row_sum_to_one(name: str, seed: int) -> None:
    q, k, v, bias = arrays(seed)
    out, _ = compiled(name)(q, k, jnp.ones_like(v), bias, None, False, 0.5)
    np.testing.assert_allclose(out, np.ones(out.shape), rtol=1e-6)


@each_body
@some
@seeds
def test_a_shift_of_all_scores_shifts_the_log_sum_exp_alone(name: str, seed: int) -> None:
    q, k, v, bias = arrays(seed)
    out, lse = compiled(name)(q, k, v, bias, None, False, 0.5)
    shifted, moved = compiled(name)(q, k, v, bias + 16, None, False, 0.5)
    np.testing.assert_allclose(shifted, out, atol=2e-5)
    np.testing.assert_allclose(moved, lse + 16, atol=1e-5)


@each_body
@some
@seeds
def test_order_of_keys_does_not_matter(name: str, seed: int) -> None:
    q, k, v, bias = arrays(seed)
    order = np.random.default_rng(seed).permutation(ODD.s)
    out, lse = compiled(name)(q, k, v, bias, None, False, 0.5)
    same, lse_too = compiled(name)(q, k[:, order], v[:, order], bias[..., order], None, False, 0.5)
    np.testing.assert_allclose(same, out, atol=1e-5)
    np.testing.assert_allclose(lse_too, lse, atol=1e-5)


@each_body
@some
@seeds
def test_order_of_queries_is_kept(name: str, seed: int) -> None:
    q, k, v, bias = arrays(seed)
    order = np.random.default_rng(seed).permutation(ODD.t)
    out, lse = compiled(name)(q, k, v, bias, None, False, 0.5)
    moved, lse_too = compiled(name)(q[:, order], k, v, bias[:, :, order], None, False, 0.5)
    np.testing.assert_allclose(moved, out[:, order], atol=1e-5)
    np.testing.assert_allclose(lse_too, lse[:, :, order], atol=1e-5)


@pytest.mark.parametrize(("rows", "by_head"), [(1, False), (4, True), (36, False), (500, True)])
def test_any_tile_gives_the_same(rows: int, by_head: bool) -> None:
    layout = Layout(b=2, t=37, s=6, h=2, d=4, e=4, bias=(2, 1, 37, 6), mask=None, is_causal=True)
    x = inputs(layout, rows)
    q, k, v, bias = jnp.asarray(x.q), jnp.asarray(x.k), jnp.asarray(x.v), jnp.asarray(x.bias)
    tiling = Tiling(whole=0, scores=1, rows=rows, by_head=by_head)
    for got, want in zip(xla(q, k, v, bias, None, True, 0.5, tiling), xla(q, k, v, bias, None, True, 0.5), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


@each_body
def test_hidden_by_mask_by_bias_or_not_there(name: str) -> None:
    q, k, v, _ = arrays(0)
    there = np.asarray([True, False, True, True, False])
    seen = there.reshape(1, 1, 1, 5)
    out, lse = compiled(name)(q, k[:, there], v[:, there], None, None, False, 0.5)
    minus = np.where(seen, 0, -np.inf).astype(np.float32)
    for bias, mask in ((None, jnp.asarray(seen)), (jnp.asarray(minus), None)):
        same, lse_too = compiled(name)(q, k, v, bias, mask, False, 0.5)
        np.testing.assert_allclose(same, out, atol=1e-6)
        np.testing.assert_allclose(lse_too, lse, atol=1e-6)


@pytest.mark.parametrize("by", ["mask", "bias"])
@each_body
def test_a_token_that_sees_nothing_gets_zeros_and_gives_none(name: str, by: str) -> None:
    q, k, v, _ = arrays(1)
    seen = np.ones((2, 1, 7, 5), np.bool_)
    seen[0, :, 3] = seen[1] = False
    bias = jnp.asarray(np.where(seen | (by == "mask"), 0, -np.inf), jnp.float32)
    mask = jnp.asarray(seen) if by == "mask" else None

    def f(q: Array, k: Array, v: Array, bias: Array) -> tuple[Array, Array]:
        return BODIES[name](q, k, v, bias, mask, False, 0.5)

    @jax.jit
    def run() -> tuple[tuple[Array, Array], tuple[Array, Array, Array, Array]]:
        out, vjp = jax.vjp(f, q, k, v, bias)
        d_q, d_k, d_v, d_bias = vjp(jax.tree.map(jnp.ones_like, out))
        return out, (d_q, d_k, d_v, d_bias)

    (out, lse), (d_q, d_k, d_v, d_bias) = jax.tree.map(np.asarray, run())
    for x in (out[0, 3], out[1], d_q[0, 3], d_q[1], d_k[1], d_v[1], d_bias[0, :, 3], d_bias[1]):
        np.testing.assert_array_equal(x, np.zeros(x.shape))
    assert np.all(np.isneginf(lse[0, :, 3]))
    assert np.all(np.isneginf(lse[1]))
    for x in (out, d_q, d_k, d_v, d_bias):
        assert np.all(np.isfinite(x))
    assert np.abs(d_q[0, 2]).max() > 0


@each_body
def test_bad_numbers_are_not_hidden(name: str) -> None:
    x = inputs(ODD, 0)
    x.q[0, 0, 0, 0] = np.nan
    q, k, v = (jnp.asarray(y, jnp.float32) for y in (x.q, x.k, x.v))
    out, lse = jax.tree.map(np.asarray, compiled(name)(q, k, v, None, None, False, 0.5))
    assert np.all(np.isnan(out[0, 0, 0]))
    assert np.isnan(lse[0, 0, 0])
    assert np.all(np.isfinite(out[1]))


@each_body
def test_forward_mode_is_the_transpose_of_reverse_mode(name: str) -> None:
    q, k, v, bias = arrays(2)
    rng = np.random.default_rng(0)

    def f(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        return BODIES[name](q, k, v, bias, None, False, 0.5)

    tangent = tuple(jnp.asarray(rng.normal(size=x.shape), jnp.float32) for x in (q, k, v))
    cotangent = tuple(jnp.asarray(rng.normal(size=n), jnp.float32) for n in ((2, 7, 3, 4), (2, 3, 7)))

    @jax.jit
    def run() -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        return jax.jvp(f, (q, k, v), tangent)[1], jax.vjp(f, q, k, v)[1](cotangent)

    moved, back = run()
    forth = sum(float(np.vdot(a, b)) for a, b in zip(cotangent, moved, strict=True))
    np.testing.assert_allclose(sum(float(np.vdot(a, b)) for a, b in zip(back, tangent, strict=True)), forth, rtol=1e-4)


@each_body
def test_under_vmap_scan_and_checkpoint(name: str) -> None:
    q, k, v, bias = (jnp.asarray(np.stack(xs)) for xs in zip(*map(arrays, range(3)), strict=True))
    shared = bias[0]

    def loss(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        out = BODIES[name](q, k, v, shared, None, True, 0.5)[0]
        return jnp.sum(out**2), out

    alone = jax.value_and_grad(loss, has_aux=True)
    recomputed = jax.value_and_grad(jax.checkpoint(loss), has_aux=True)

    @jax.jit
    def run() -> tuple[object, object, object]:
        one_by_one = [alone(q[i], k[i], v[i]) for i in range(1, 3)]
        _, walked = jax.lax.scan(lambda carry, x: (carry, recomputed(*x)), None, (q, k, v))
        return jax.vmap(alone)(q, k, v), walked, jax.tree.map(lambda *xs: jnp.stack(xs), *one_by_one)

    at_once, walked, one_by_one = run()
    for got in (at_once, walked):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1:], b, atol=1e-4), got, one_by_one)


def test_memory_of_a_long_row_with_its_gradient_is_that_of_tiles() -> None:
    t, heads = 4096, 4
    x = jax.eval_shape(lambda: jnp.zeros((1, t, heads, 16)))

    def loss(q: Array, k: Array, v: Array) -> Array:
        return jnp.sum(attention(q, k, v) ** 2)

    memory = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(x, x, x).compile().memory_analysis()
    assert memory is not None
    scores = 4 * heads * t * t
    assert memory.temp_size_in_bytes < scores / 10


def test_arguments_reach_the_body() -> None:
    q, k, v, bias = arrays(0)
    seen = jnp.arange(5) < 3
    choices: tuple[tuple[Implementation | None, Body], ...] = (("reference", reference), ("xla", xla), (None, xla))
    for name, body in choices:
        want = body(q, k, v, bias, seen.reshape(1, 1, 1, 5), True, 0.3)
        got = attention(
            q, k, v, bias=bias[0], mask=seen, is_causal=True, scale=0.3, return_lse=True, implementation=name
        )
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(attention(q, k, v), xla(q, k, v, None, None, False, 3**-0.5)[0])


GOOD: Final = {"q": (2, 3, 4, 5), "k": (2, 6, 4, 5), "v": (2, 6, 4, 7)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": (3, 4, 5)}, r"q must be \(batch, tokens, heads, head_dim\), got shape \(3, 4, 5\)"),
        ({"v": (2, 6, 4, 7, 1)}, r"v must be \(batch, tokens, heads, head_dim\), got shape \(2, 6, 4, 7, 1\)"),
        ({"k": (2, 0, 4, 5), "v": (2, 0, 4, 7)}, r"k must have no empty axis, got shape \(2, 0, 4, 5\)"),
        ({"k": (2, 6, 2, 5)}, r"k must agree with q in batch, heads and head_dim, got q .*3, 4, 5\) and k .*6, 2, 5\)"),
        ({"q": (1, 3, 4, 5)}, "k must agree with q in batch"),
        ({"v": (2, 5, 4, 7)}, r"v must agree with k in batch, keys and heads, got k .* and v \(2, 5, 4, 7\)"),
        ({"bias": (2, 1, 3, 5)}, r"bias must broadcast to .* = \(2, 4, 3, 6\), got shape \(2, 1, 3, 5\)"),
        ({"bias": (1, 2, 4, 3, 6)}, "bias must broadcast"),
        ({"mask": (2, 6)}, r"mask must broadcast to .* = \(2, 4, 3, 6\), got shape \(2, 6\)"),
    ],
)
def test_shapes_that_do_not_fit(change: dict[str, tuple[int, ...]], message: str) -> None:
    shapes = GOOD | change
    x = {name: jnp.asarray(np.zeros(shape), bool if name == "mask" else jnp.float32) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        attention(x["q"], x["k"], x["v"], bias=x.get("bias"), mask=x.get("mask"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": jnp.int32}, "q must be of dtype float16, bfloat16, float32 or float64, got int32"),
        ({"v": jnp.complex64}, "v must be of dtype .*, got complex64"),
        ({"k": jnp.float16}, "q, k and v must be of one dtype, got float32, float16 and float32"),
        ({"bias": jnp.bool_}, "bias must be of dtype .*, got bool"),
        ({"mask": jnp.float32}, "mask must be of dtype bool, got float32"),
    ],
)
def test_dtypes_that_do_not_fit(change: dict[str, npt.DTypeLike], message: str) -> None:
    shapes = GOOD | {name: (1, 1, 3, 6) for name in change if name not in GOOD}
    x = {name: jnp.asarray(np.zeros(shape).astype(change.get(name, np.float32))) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        attention(x["q"], x["k"], x["v"], bias=x.get("bias"), mask=x.get("mask"))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_scale_must_be_a_number(scale: float) -> None:
    q = jnp.ones((1, 2, 1, 4))
    with pytest.raises(ValueError, match="scale must be finite, got"):
        attention(q, q, q, scale=scale)


def test_a_tile_needs_scores_and_rows() -> None:
    with pytest.raises(ValueError, match="scores and rows must be positive, got 0 and 128"):
        Tiling(scores=0)
