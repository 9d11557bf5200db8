"""Checks of attention's implementations against float64."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array

from artifex.kernels.platform import shaped
from tests.kernels import exact
from tests.kernels.exact import Hidden, HostArray
from tests.kernels.tolerance import rounding, spacing, wide

Segments = tuple[Array, Array]
Implementation = Callable[
    [Array, Array, Array, Array | None, Array | None, Segments | None, bool, float], tuple[Array, Array]
]


@dataclass(frozen=True)
class Layout:
    """The static arguments of an attention."""

    b: int
    t: int
    s: int
    h: int
    d: int
    e: int
    bias: tuple[int, ...] | None = None
    mask: tuple[int, ...] | None = None
    segments: bool = False
    is_causal: bool = False

    @property
    def scores(self) -> tuple[int, int, int, int]:
        return self.b, self.h, self.t, self.s


ODD: Final = Layout(b=2, t=7, s=5, h=3, d=3, e=4, bias=(1, 3, 7, 5), mask=(2, 1, 1, 5))
CAUSAL: Final = Layout(b=2, t=9, s=7, h=1, d=5, e=2, segments=True, is_causal=True)
CROSS: Final = Layout(b=1, t=3, s=11, h=2, d=1, e=4, bias=(1, 1, 1, 11), mask=(1, 2, 3, 1), segments=True)


@dataclass(frozen=True)
class Inputs:
    q: HostArray
    k: HostArray
    v: HostArray
    bias: HostArray | None
    mask: Hidden | None
    segments: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None
    d_out: HostArray
    d_lse: HostArray


def inputs(layout: Layout, seed: int, size: float = 1.0, dtype: npt.DTypeLike = np.float32) -> Inputs:
    """Normal numbers that ``dtype`` holds exactly, ``q`` ``size`` times as large; about half of the keys are hidden."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> HostArray:
        return np.asarray(rng.normal(size=shape).astype(dtype), np.float64)

    def some_of(count: int, *shape: int) -> npt.NDArray[np.int32]:
        return rng.integers(0, count, shape, np.int32)

    b, t, s, h, d, e = layout.b, layout.t, layout.s, layout.h, layout.d, layout.e
    return Inputs(
        q=normal(b, t, h, d) * size,
        k=normal(b, s, h, d),
        v=normal(b, s, h, e),
        bias=None if layout.bias is None else normal(*layout.bias),
        mask=None if layout.mask is None else rng.random(layout.mask) < 0.5,
        segments=(rng.integers(0, 3, (b, t), np.int32), rng.integers(0, 3, (b, s), np.int32))
        if layout.segments
        else None,
        d_out=normal(b, t, h, e),
        d_lse=normal(b, h, t),
    )


@cache
def both_ways(
    implementation: Implementation, is_causal: bool, scale: float
) -> Callable[..., tuple[Array, Array, tuple[Array, ...]]]:
    """Forward and vjp of an implementation in one program."""

    @jax.jit
    def run(
        q: Array,
        k: Array,
        v: Array,
        bias: Array | None,
        mask: Array | None,
        segments: Segments | None,
        d_out: Array,
        d_lse: Array,
    ) -> tuple[Array, Array, tuple[Array, ...]]:
        def f(q: Array, k: Array, v: Array, bias: Array | None) -> tuple[Array, Array]:
            return implementation(q, k, v, bias, mask, segments, is_causal, scale)

        (out, lse), vjp = jax.vjp(f, q, k, v, bias)
        return out, lse, vjp((d_out, d_lse))

    return run


def check(implementation: Implementation, layout: Layout, x: Inputs, scale: float, dtype: npt.DTypeLike) -> None:
    """Compare values and gradients with float64's, within the rounding of ``dtype`` and of sums of that length."""
    dtype = np.dtype(dtype)
    fine = spacing(wide(dtype))
    q, k, v, d_out = (jnp.asarray(y, dtype) for y in (x.q, x.k, x.v, x.d_out))
    bias = None if x.bias is None else jnp.asarray(x.bias, dtype)
    mask = None if x.mask is None else jnp.asarray(x.mask)
    segments = None if x.segments is None else (jnp.asarray(x.segments[0]), jnp.asarray(x.segments[1]))
    run = both_ways(implementation, layout.is_causal, scale)
    out, lse, grads = run(q, k, v, bias, mask, segments, d_out, jnp.asarray(x.d_lse, wide(dtype)))

    visible = np.broadcast_to(np.bool_(True) if x.mask is None else x.mask, layout.scores)
    if x.segments is not None:
        visible = visible & (x.segments[0][:, None, :, None] == x.segments[1][:, None, None])
    if layout.is_causal:
        visible = visible & np.tri(layout.t, layout.s, dtype=np.bool_)
    added = np.broadcast_to(np.float64(0) if x.bias is None else x.bias, layout.scores)
    args = (x.q, x.k, x.v, added, visible, scale, x.d_out, x.d_lse)
    truth, size = exact.attention(*args), exact.attention(*args, sizes=True)

    products = abs(scale) * np.einsum("bthd,bshd->bhts", np.abs(x.q), np.abs(x.k)) + np.abs(added)
    length = (layout.d + 4) * float(products.max()) + layout.d + layout.e + layout.s + layout.t * layout.b * layout.h

    def close(got: Array, want: HostArray, size: float) -> None:
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


def check_unseen(implementation: Implementation) -> None:
    """A token that sees no key, by a mask, a bias or segments, gets zeros and gives none, and no NaN comes up."""
    x = inputs(ODD, 1)
    q, k, v = (jnp.asarray(y, jnp.float32) for y in (x.q, x.k, x.v))
    visible = np.ones((2, 1, 7, 5), np.bool_)
    visible[0, :, 3] = visible[1] = False

    @jax.jit
    def run(by: dict[str, Array]) -> tuple[tuple[Array, Array], tuple[Array, Array, Array, Array]]:
        def f(q: Array, k: Array, v: Array, bias: Array) -> tuple[Array, Array]:
            of_keys = jnp.ones((2, 5), jnp.int32)
            return implementation(q, k, v, bias, by["mask"], (by["segments"], of_keys), False, 0.5)

        out, vjp = jax.vjp(f, q, k, v, by["bias"])
        d_q, d_k, d_v, d_bias = vjp(jax.tree.map(jnp.ones_like, out))
        return out, (d_q, d_k, d_v, d_bias)

    nothing = {
        "mask": jnp.ones(visible.shape, jnp.bool_),
        "bias": jnp.zeros(visible.shape),
        "segments": jnp.ones((2, 7), jnp.int32),
    }
    hidden = {
        "mask": jnp.asarray(visible),
        "bias": jnp.asarray(np.where(visible, 0, -np.inf), jnp.float32),
        "segments": jnp.asarray(visible[:, 0, :, 0], jnp.int32),
    }
    for name, by in hidden.items():
        (out, lse), (d_q, d_k, d_v, d_bias) = jax.tree.map(np.asarray, run(nothing | {name: by}))
        for y in (out[0, 3], out[1], d_q[0, 3], d_q[1], d_k[1], d_v[1], d_bias[0, :, 3], d_bias[1]):
            np.testing.assert_array_equal(y, np.zeros(y.shape), err_msg=name)
        assert np.all(np.isneginf(lse[0, :, 3])), name
        assert np.all(np.isneginf(lse[1])), name
        for y in (out, d_q, d_k, d_v, d_bias):
            assert np.all(np.isfinite(y)), name
        assert np.abs(d_q[0, 2]).max() > 0, name


def check_transformed(implementation: Implementation, check_vma: bool = True) -> None:
    """``vmap``, ``scan`` of ``checkpoint``, and ``shard_map`` give values and gradients of one call after another.

    JAX has no ``check_vma`` where it interprets Pallas.
    """
    many = [inputs(ODD, seed) for seed in range(3)]
    q, k, v = (jnp.asarray(np.stack(y), jnp.float32) for y in zip(*((x.q, x.k, x.v) for x in many), strict=True))
    bias, mask = jnp.asarray(many[0].bias, jnp.float32), jnp.asarray(many[0].mask)

    def loss(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        out = implementation(q, k, v, bias, mask, None, True, 0.5)[0]
        return jnp.sum(out**2), out

    def of_rows(q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
        d_q, d_k, d_v = jax.grad(lambda *x: loss(*x)[0], argnums=(0, 1, 2))(q, k, v)
        return d_q, d_k, d_v

    alone = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    recomputed = jax.value_and_grad(jax.checkpoint(loss), argnums=(0, 1, 2), has_aux=True)
    rows = jax.sharding.PartitionSpec(None, "rows")  # type: ignore[no-untyped-call]
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("rows",))
    sharded = jax.shard_map(jax.vmap(of_rows), mesh=mesh, in_specs=rows, out_specs=rows, check_vma=check_vma)

    @jax.jit
    def run() -> tuple[object, object, object, object]:
        one_by_one = [alone(q[i], k[i], v[i]) for i in range(1, 3)]
        _, walked = jax.lax.scan(lambda carry, x: (carry, recomputed(*x)), None, (q, k, v))
        return jax.vmap(alone)(q, k, v), walked, sharded(q, k, v), jax.tree.map(lambda *xs: jnp.stack(xs), *one_by_one)

    at_once, walked, in_shards, one_by_one = run()
    for got in (at_once, walked):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1:], b, atol=1e-4), got, one_by_one)
    _, gradients = one_by_one
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1:], b, atol=1e-4), in_shards, gradients)


def with_gradient(implementation: Implementation) -> Callable[..., tuple[Array, Array, Array]]:
    """A step of a network that uses all there is, but learns no bias."""

    def run(
        q: Array, k: Array, v: Array, bias: Array, mask: Array, of_q: Array, of_k: Array
    ) -> tuple[Array, Array, Array]:
        def loss(q: Array, k: Array, v: Array) -> Array:
            out, lse = implementation(q, k, v, bias, mask, (of_q, of_k), True, 0.1)
            return jnp.sum(out.astype(jnp.float32)) + jnp.sum(lse)

        d_q, d_k, d_v = jax.grad(loss, argnums=(0, 1, 2))(q, k, v)
        return d_q, d_k, d_v

    return run


def machine_sized(dtype: str) -> list[jax.ShapeDtypeStruct]:
    """Arguments of ``with_gradient``: DiT-XL's heads, on tokens and keys that fill no tile."""
    of_heads = [shaped((2, n, 3, 72), dtype) for n in (300, 77, 77)]
    others = [shaped((1, 3, 300, 77), dtype), shaped((2, 1, 1, 77), jnp.bool_)]
    return [*of_heads, *others, shaped((2, 300), jnp.int32), shaped((2, 77), jnp.int32)]
