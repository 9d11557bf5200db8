import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array

from artifex.kernels import DynamicThreshold, Implementation, guided_combine
from artifex.schedules import DynamicallyThresholded, NoiseLevel
from tests.kernels.exact import Host

BODIES: Final[tuple[Implementation, ...]] = ("reference", "xla")
each_body = pytest.mark.parametrize("body", BODIES)

seeds = given(seed=st.integers(0, 2**32 - 1))
some = settings(max_examples=10, deadline=None)
THRESHOLD: Final = DynamicThreshold(quantile=0.8, limit=0.5, ceiling=4.0)


Parts = Sequence[Host]
"""Conditional, unconditional, scale and, where there is one, rescale."""


@cache
def compiled(body: Implementation, threshold: DynamicThreshold | None = None) -> Callable[..., Array]:
    """``guided_combine`` by one body."""

    def run(c: Array, u: Array, scale: ArrayLike, rescale: ArrayLike | None = None) -> Array:
        return guided_combine(c, u, scale, rescale=rescale, threshold=threshold, implementation=body)

    return jax.jit(run)


@cache
def both_ways(body: Implementation, threshold: DynamicThreshold | None) -> Callable[..., tuple[Array, list[Array]]]:
    """Forward and vjp of one body in one program."""

    @jax.jit
    def run(cotangent: Array, *arguments: Array) -> tuple[Array, list[Array]]:
        out, vjp = jax.vjp(compiled(body, threshold), *arguments)
        return out, list(vjp(cotangent))

    return run


def exact(parts: Parts, threshold: DynamicThreshold | None) -> Host:
    """The papers' formulas in float64, one sample after another."""
    out = []
    for c, u, scale, *rescale in zip(*parts, strict=True):
        g = u + scale * (c - u)
        for phi in rescale:
            g = phi * g * np.std(c) / np.std(g) + (1 - phi) * g
        if threshold is not None:
            s = min(max(float(np.quantile(np.abs(g), threshold.quantile)), threshold.limit), threshold.ceiling)
            g = np.clip(g, -s, s) / s * threshold.limit
        out.append(g)
    return np.stack(out)


def check(
    body: Implementation,
    shape: tuple[int, ...],
    rescaled: bool,
    threshold: DynamicThreshold | None,
    seed: int,
    dtype: DTypeLike = np.float32,
) -> None:
    """Holds a body's numbers and gradients to float64's, within the rounding of ``dtype`` and of sums so long."""
    rng = np.random.default_rng(seed)
    narrowed = [jnp.asarray(rng.normal(size=shape).astype(dtype)) for _ in range(3)]
    each = [rng.uniform(1, 5, shape[0]).astype(np.float32), rng.uniform(size=shape[0]).astype(np.float32)]
    arguments = [*narrowed[:2], *(jnp.asarray(x) for x in each[: 1 + rescaled])]
    out, grads = both_ways(body, threshold)(*narrowed[2:], *arguments)
    c, u, *_ = parts = [np.asarray(x, np.float64) for x in arguments]

    fine, eps = (float(jnp.finfo(d).eps) for d in (np.float32, dtype))  # type: ignore[no-untyped-call]
    n = math.prod(shape[1:])
    size = 5 * (np.abs(c).max() + np.abs(u).max())
    assert out.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(out, np.float64), exact(parts, threshold), rtol=0, atol=(fine * (n + 8) + eps) * size
    )

    # Along one direction; the difference quotient in float64 is right to about 1e-9.
    along = [rng.normal(size=x.shape) for x in parts]
    h = 1e-6
    ahead, behind = (exact([x + s * d for x, d in zip(parts, along, strict=True)], threshold) for s in (h, -h))
    slope = np.sum(np.asarray(narrowed[2], np.float64) * (ahead - behind)) / (2 * h)
    shares = [np.asarray(g, np.float64) * d for g, d in zip(grads, along, strict=True)]
    total, magnitude = (sum(float(f(x).sum()) for x in shares) for f in (np.asarray, np.abs))
    np.testing.assert_allclose(total, slope, rtol=0, atol=(fine * (n + 64) + 2 * eps) * magnitude)


@settings(max_examples=8, deadline=None)
@given(
    body=st.sampled_from(BODIES),
    shape=st.sampled_from([(2, 3, 5), (3, 37), (1, 2, 4, 3)]),
    kind=st.sampled_from(["plain", "rescale", "threshold", "both"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_body_is_the_formula_forward_and_backward(
    body: Implementation, shape: tuple[int, ...], kind: str, seed: int
) -> None:
    check(body, shape, kind in ("rescale", "both"), THRESHOLD if kind in ("threshold", "both") else None, seed)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@each_body
def test_narrow_outputs_are_put_together_wide(body: Implementation, dtype: DTypeLike) -> None:
    check(body, (2, 3, 5), True, THRESHOLD, 0, dtype)


@each_body
def test_float64_stays_float64(body: Implementation) -> None:
    with jax.enable_x64(True):
        parts = [np.random.default_rng(i).normal(size=size) for i, size in enumerate([(2, 9), (2, 9), (2,)])]
        out = compiled(body, THRESHOLD)(*(jnp.asarray(x) for x in parts))
        assert out.dtype == jnp.float64
        np.testing.assert_allclose(out, exact(parts, THRESHOLD), rtol=1e-12)


def normal(seed: int, *shape: int) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@each_body
@some
@seeds
def test_scale_1_is_the_conditional_output_itself(body: Implementation, seed: int) -> None:
    c, u = normal(seed, 2, 3, 5), normal(seed + 1, 2, 3, 5)
    np.testing.assert_array_equal(compiled(body)(c, u, 1.0), c)
    np.testing.assert_allclose(compiled(body)(c, u, 1.0, 1.0), c, rtol=1e-6)
    np.testing.assert_allclose(compiled(body)(c, u, 0.0), u, atol=1e-6)


@each_body
@some
@seeds
def test_rescaling_keeps_each_samples_standard_deviation(body: Implementation, seed: int) -> None:
    c, u = normal(seed, 2, 3, 5), normal(seed + 1, 2, 3, 5)
    scale = jnp.asarray([3.0, 9.0])
    free, kept, half = (np.asarray(compiled(body)(c, u, scale, phi), np.float64) for phi in (0.0, 1.0, 0.5))
    np.testing.assert_allclose(kept.std(axis=(1, 2)), np.asarray(c, np.float64).std(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(half, (free + kept) / 2, rtol=1e-5, atol=1e-6)


@each_body
@some
@seeds
def test_a_thresholded_sample_stays_within_the_limit_and_in_order(body: Implementation, seed: int) -> None:
    c, u = normal(seed, 2, 3, 5), normal(seed + 1, 2, 3, 5)
    out = np.asarray(compiled(body, THRESHOLD)(c, u, 7.5))
    free = np.asarray(compiled(body)(c, u, 7.5))
    assert np.abs(out).max() <= THRESHOLD.limit * (1 + 1e-6)
    for mine, raw in zip(out.reshape(2, -1), free.reshape(2, -1), strict=True):
        assert np.all(np.diff(mine[np.argsort(raw)]) >= 0)


@each_body
@pytest.mark.parametrize("quantile", [0.001, 0.73, 1.0])
def test_the_quantile_is_interpolated_and_ties_are_counted(body: Implementation, quantile: float) -> None:
    rows = np.asarray([[1, 2, 2, 2, 3, -9], [0, 0, 0, 0, 0, 4], [5, -5, 5, 5, -5, 5], [1e-39, 2, -1e9, 7, 3, 1]])
    threshold = DynamicThreshold(quantile, limit=1e-3)
    out = compiled(body, threshold)(jnp.asarray(rows, jnp.float32), jnp.zeros((4, 6)), 1.0)
    np.testing.assert_allclose(out, exact([rows, rows, np.ones(4)], threshold), rtol=3e-5, atol=1e-30)


@each_body
def test_agrees_with_the_thresholded_denoiser(body: Implementation) -> None:
    c, u, scale = 2 * normal(0, 3, 4, 5), normal(1, 3, 4, 5), jnp.asarray([0.5, 2.0, 8.0])
    guided = compiled(body)(c, u, scale)
    threshold = DynamicThreshold(quantile=0.9, limit=1.5, ceiling=6.0)
    denoiser = DynamicallyThresholded(lambda x_t, level: guided, 0.9, 1.5, 6.0)
    want = denoiser(c, NoiseLevel(scale, scale, scale))
    np.testing.assert_allclose(compiled(body, threshold)(c, u, scale), want, rtol=1e-6)


@each_body
def test_a_sample_without_spread_stays_finite(body: Implementation) -> None:
    flat = jnp.ones((3, 4))
    c, u = flat.at[1:].set(normal(0, 2, 4)), flat.at[2].set(normal(1, 4))
    c = c.at[2].set(2.0)
    out, grads = both_ways(body, None)(flat, c, u, jnp.full(3, 4.0), jnp.ones(3))
    np.testing.assert_array_equal(out[0], 1)  # no spread to scale
    np.testing.assert_array_equal(out[2], 0)  # none to keep
    for gradient in grads:
        assert np.all(np.isfinite(gradient))


@each_body
def test_under_vmap_scan_and_checkpoint(body: Implementation) -> None:
    c, u, scale = normal(0, 3, 2, 7), normal(1, 3, 2, 7), jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    def loss(c: Array, u: Array, scale: Array) -> tuple[Array, Array]:
        out = guided_combine(c, u, scale, rescale=0.5, threshold=THRESHOLD, implementation=body)
        return jnp.sum(out**2), out

    alone = jax.value_and_grad(loss, has_aux=True)
    recomputed = jax.value_and_grad(jax.checkpoint(loss), has_aux=True)

    @jax.jit
    def run() -> tuple[object, object, object]:
        _, walked = jax.lax.scan(lambda carry, part: (carry, recomputed(*part)), None, (c, u, scale))
        return jax.vmap(alone)(c, u, scale), walked, alone(c[1], u[1], scale[1])

    at_once, walked, one = run()
    for got in (at_once, walked):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5), got, one)


X: Final = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("c", "u", "scale", "rescale", "message"),
    [
        (X, X[:1], 1.0, None, r"conditional and unconditional must be of one shape, got \(2, 3\) and \(1, 3\)"),
        (X[:, :0], X[:, :0], 1.0, None, r"conditional must be \(batch, ...\) with no empty axis, got shape \(2, 0\)"),
        (X[0, 0], X[0, 0], 1.0, None, r"conditional must be \(batch, ...\) with no empty axis, got shape \(\)"),
        (X.astype(int), X, 1.0, None, "conditional must be of dtype float16, .* or float64, got int32"),
        (X, X.astype(int), 1.0, None, "unconditional must be of dtype float16, .* or float64, got int32"),
        (X, X, [1.0, 1.0, 1.0], None, r"scale must be one number or of shape \(2,\), got \(3,\)"),
        (X, X, [[1.0], [1.0]], None, r"scale must be one number or of shape \(2,\), got \(2, 1\)"),
        (X, X, 1.0, [0.5] * 3, r"rescale must be one number or of shape \(2,\), got \(3,\)"),
        (X, X, 1.0, 1.5, r"rescale must be in \[0, 1\], got 1.5"),
        (X, X, 1.0, float("nan"), r"rescale must be in \[0, 1\], got nan"),
    ],
)
def test_bad_input(
    c: npt.NDArray[Any], u: npt.NDArray[Any], scale: ArrayLike, rescale: ArrayLike | None, message: str
) -> None:
    phi = rescale if rescale is None else jnp.asarray(rescale)
    with pytest.raises(ValueError, match=message):
        guided_combine(jnp.asarray(c), jnp.asarray(u), jnp.asarray(scale), rescale=phi)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 0.0}, r"quantile must be in \(0, 1\], got 0.0"),
        ({"quantile": 1.1}, r"quantile must be in \(0, 1\], got 1.1"),
        ({"limit": 0.0}, "limit must be positive and at most ceiling, got 0.0 and inf"),
        ({"limit": 2.0, "ceiling": 1.0}, "limit must be positive and at most ceiling, got 2.0 and 1.0"),
    ],
)
def test_bad_threshold(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynamicThreshold(**options)
