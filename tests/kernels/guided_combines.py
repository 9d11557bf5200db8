"""Checks of one implementation of the guided combination: plain, interpreted, or on a device."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array

from artifex.kernels import DynamicThreshold, ImplementationName, guided_combine
from tests.kernels.exact import HostArray
from tests.kernels.tolerance import rounding

THRESHOLD: Final = DynamicThreshold(quantile=0.8, limit=0.5, ceiling=4.0)

Parts = Sequence[HostArray]
"""Conditional, unconditional, scale and, where there is one, rescale."""


@cache
def compiled(implementation: ImplementationName, threshold: DynamicThreshold | None = None) -> Callable[..., Array]:
    """``guided_combine`` by one implementation."""

    def run(c: Array, u: Array, scale: ArrayLike, rescale: ArrayLike | None = None) -> Array:
        return guided_combine(c, u, scale, rescale=rescale, threshold=threshold, implementation=implementation)

    return jax.jit(run)


@cache
def both_ways(
    implementation: ImplementationName, threshold: DynamicThreshold | None
) -> Callable[..., tuple[Array, list[Array]]]:
    """Forward and vjp of one implementation in one program."""

    @jax.jit
    def run(cotangent: Array, *arguments: Array) -> tuple[Array, list[Array]]:
        out, vjp = jax.vjp(compiled(implementation, threshold), *arguments)
        return out, list(vjp(cotangent))

    return run


def exact(parts: Parts, threshold: DynamicThreshold | None) -> HostArray:
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
    implementation: ImplementationName,
    shape: tuple[int, ...],
    rescaled: bool,
    threshold: DynamicThreshold | None,
    seed: int,
    dtype: DTypeLike = np.float32,
) -> None:
    """Compare values and gradients with float64's, within the rounding of ``dtype`` and of sums of that length."""
    rng = np.random.default_rng(seed)
    narrowed = [jnp.asarray(rng.normal(size=shape).astype(dtype)) for _ in range(3)]
    each = [rng.uniform(1, 5, shape[0]).astype(np.float32), rng.uniform(size=shape[0]).astype(np.float32)]
    arguments = [*narrowed[:2], *(jnp.asarray(x) for x in each[: 1 + rescaled])]
    out, grads = both_ways(implementation, threshold)(*narrowed[2:], *arguments)
    c, u, *_ = parts = [np.asarray(x, np.float64) for x in arguments]

    n = math.prod(shape[1:])
    size = 5 * (np.abs(c).max() + np.abs(u).max())
    assert out.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(out, np.float64), exact(parts, threshold), rtol=0, atol=rounding(dtype, n + 8) * size
    )

    # Along one direction; the difference quotient in float64 is right to about 1e-9.
    along = [rng.normal(size=x.shape) for x in parts]
    h = 1e-6
    ahead, behind = (exact([x + s * d for x, d in zip(parts, along, strict=True)], threshold) for s in (h, -h))
    slope = np.sum(np.asarray(narrowed[2], np.float64) * (ahead - behind)) / (2 * h)
    shares = [np.asarray(g, np.float64) * d for g, d in zip(grads, along, strict=True)]
    total, magnitude = (sum(float(f(x).sum()) for x in shares) for f in (np.asarray, np.abs))
    np.testing.assert_allclose(total, slope, rtol=0, atol=rounding(dtype, n + 64) * magnitude)


def normal(seed: int, *shape: int) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def check_bounds(implementation: ImplementationName, seed: int) -> None:
    """Check the properties of scales 0 and 1, full rescaling and the threshold, for every sample."""
    c, u, scale = normal(seed, 2, 3, 5), normal(seed + 1, 2, 3, 5), jnp.asarray([3.0, 9.0])
    np.testing.assert_array_equal(compiled(implementation)(c, u, jnp.ones(2)), c)
    np.testing.assert_allclose(compiled(implementation)(c, u, jnp.zeros(2)), u, atol=1e-6)

    free, kept, half = (
        np.asarray(compiled(implementation)(c, u, scale, jnp.full(2, f)), np.float64) for f in (0.0, 1.0, 0.5)
    )
    np.testing.assert_allclose(kept.std(axis=(1, 2)), np.asarray(c, np.float64).std(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(half, (free + kept) / 2, rtol=1e-5, atol=1e-5)

    out = np.asarray(compiled(implementation, THRESHOLD)(c, u, scale)).reshape(2, -1)
    assert np.abs(out).max() <= THRESHOLD.limit * (1 + 1e-6)
    for mine, raw in zip(out, free.reshape(2, -1), strict=True):
        assert np.all(np.diff(mine[np.argsort(raw)]) >= 0)


def check_quantile(implementation: ImplementationName, quantile: float) -> None:
    """Interpolated, with ties counted, between whatever numbers."""
    rows = np.asarray([[1, 2, 2, 2, 3, -9], [0, 0, 0, 0, 0, 4], [5, -5, 5, 5, -5, 5], [1e-39, 2, -1e9, 7, 3, 1]])
    threshold = DynamicThreshold(quantile, limit=1e-3)
    out = compiled(implementation, threshold)(jnp.asarray(rows, jnp.float32), jnp.zeros((4, 6)), jnp.ones(4))
    np.testing.assert_allclose(out, exact([rows, rows, np.ones(4)], threshold), rtol=3e-5, atol=1e-30)


def check_flat(implementation: ImplementationName) -> None:
    """A sample without spread is left alone, and all gradients stay finite."""
    flat = jnp.ones((3, 4))
    c, u = flat.at[1:].set(normal(0, 2, 4)), flat.at[2].set(normal(1, 4))
    c = c.at[2].set(2.0)
    out, grads = both_ways(implementation, None)(flat, c, u, jnp.full(3, 4.0), jnp.ones(3))
    np.testing.assert_array_equal(out[0], 1)  # no spread to scale
    np.testing.assert_array_equal(out[2], 0)  # none to keep
    for gradient in grads:
        assert np.all(np.isfinite(gradient))

    # Tenths are no binary fractions: the mean of 7 or of 300 equal ones is rounded.
    for n in (7, 300):
        c, u, scale = jnp.full((2, n), jnp.asarray([[0.1], [1.7]])), jnp.full((2, n), -0.23), jnp.full(2, 3.3)
        np.testing.assert_array_equal(
            compiled(implementation)(c, u, scale, jnp.ones(2)), compiled(implementation)(c, u, scale)
        )


def check_transforms(implementation: ImplementationName) -> None:
    """Under vmap, scan and checkpoint, value and gradient are those of a call alone."""
    c, u, scale = normal(0, 3, 2, 7), normal(1, 3, 2, 7), jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    def loss(c: Array, u: Array, scale: Array) -> tuple[Array, Array]:
        out = guided_combine(c, u, scale, rescale=0.5, threshold=THRESHOLD, implementation=implementation)
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
