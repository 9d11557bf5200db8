"""Checks of one implementation of the linear step: plain, interpreted, or on a device."""

from collections.abc import Callable, Sequence
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array
from scipy.stats import kstest  # type: ignore[import-untyped]

from artifex.kernels import ImplementationName, Noise, linear_step, sample_keys
from tests.kernels.exact import HostArray
from tests.kernels.tolerance import rounding


@cache
def compiled(implementation: ImplementationName) -> Callable[..., Array]:
    """``linear_step`` by one implementation."""

    def step(
        terms: Sequence[Array],
        weights: Array,
        noise_scale: Array | None = None,
        key: Array | None = None,
        clip: float | None = None,
        noise: Noise = "key",
    ) -> Array:
        return linear_step(
            terms, weights, noise_scale=noise_scale, key=key, clip=clip, noise=noise, implementation=implementation
        )

    return jax.jit(step, static_argnames=("clip", "noise"))


def normal(seed: int, *shape: int) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def noise(
    implementation: ImplementationName, key: Array, *shape: int, scale: ArrayLike = 1.0, kind: Noise = "key"
) -> Array:
    """Noise alone."""
    terms = (jnp.asarray(np.zeros(shape, np.float32)),)
    return compiled(implementation)(terms, jnp.zeros(1), jnp.asarray(scale), key, noise=kind)


def exact_sum(terms: Sequence[Array], weights: Array) -> tuple[HostArray, HostArray]:
    """The weighted sum in float64, and the same of absolute values: what its rounding is proportional to."""
    stacked = np.stack([np.asarray(x, np.float64) for x in terms])
    w = np.broadcast_to(np.asarray(weights, np.float64), (stacked.shape[1], len(terms)))
    return np.einsum("bn,nb...->b...", w, stacked), np.einsum("bn,nb...->b...", np.abs(w), np.abs(stacked))


@cache
def both_ways(implementation: ImplementationName) -> Callable[..., tuple[Array, list[Array], Array]]:
    """Forward and vjp of one implementation in one program."""

    @jax.jit
    def run(terms: list[Array], weights: Array, cotangent: Array) -> tuple[Array, list[Array], Array]:
        out, vjp = jax.vjp(lambda t, w: linear_step(t, w, implementation=implementation), terms, weights)
        d_terms, d_weights = vjp(cotangent)
        return out, d_terms, d_weights

    return run


def check_formula(
    implementation: ImplementationName, shape: tuple[int, ...], count: int, each: bool, size: float, seed: int
) -> None:
    """Value and gradients against float64, within the rounding of sums so long."""
    terms = [normal(seed + j, *shape) * size for j in range(count)]
    weights = normal(seed + count, *((shape[0], count) if each else (count,)))
    cotangent = normal(seed + count + 1, *shape)
    want, sizes = exact_sum(terms, weights)
    eps, tiny = float(np.finfo(np.float32).eps), float(np.finfo(np.float32).tiny)
    out, d_terms, d_weights = both_ways(implementation)(terms, weights, cotangent)
    np.testing.assert_array_less(np.abs(out - want), eps * (count + 2) * sizes + tiny)
    w = np.broadcast_to(np.asarray(weights, np.float64), (shape[0], count))
    for j, got in enumerate(d_terms):
        d_term = np.einsum("b,b...->b...", w[:, j], np.asarray(cotangent, np.float64))
        np.testing.assert_allclose(np.asarray(got), d_term, rtol=4 * eps)
    products = np.stack([np.asarray(x, np.float64) * cotangent for x in terms], axis=-1)
    axes = tuple(range(1, len(shape))) if each else tuple(range(len(shape)))
    length = cotangent.size + 2
    np.testing.assert_array_less(
        np.abs(d_weights - products.sum(axes)), eps * length * np.abs(products).sum(axes) + tiny
    )


def check_narrow(implementation: ImplementationName, dtype: DTypeLike) -> None:
    """Large numbers that cancel: a sum in ``dtype`` would lose the rest."""
    large, one = (jnp.asarray(np.full((2, 3), n), dtype) for n in (4096.0, 1.0))
    out = compiled(implementation)([large, one, large], jnp.asarray([1.0, 1.001, -1.0]))
    assert out.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(out, np.float64), np.full((2, 3), 1.001), rtol=rounding(dtype, 0) + 4096 * rounding(np.float32, 1)
    )


def check_drawn_in_the_kernel(implementation: ImplementationName, shape: tuple[int, ...]) -> None:
    """The noise of every sample is its key's; only the last digits of the normal numbers may differ."""
    keys = sample_keys(jax.random.key(7), shape[0])
    want = jnp.stack([jax.random.normal(key, shape[1:]) for key in keys])
    np.testing.assert_allclose(noise(implementation, keys, *shape), want, rtol=0, atol=3e-5)


def check_scaled_noise(implementation: ImplementationName) -> None:
    """Each sample's noise by its own scale, added to the sum, and the gradient of these scales."""
    key, x, scale = jax.random.key(1), normal(0, 3, 4, 2), np.asarray([0.0, 0.5, 3.0], np.float32)
    z = np.asarray(noise(implementation, key, 3, 4, 2))

    @jax.jit
    def step(scale: Array) -> tuple[Array, Array]:
        out, vjp = jax.vjp(lambda s: compiled(implementation)((x,), jnp.full(1, 2.0), s, key), scale)
        return out, vjp(jnp.ones_like(out))[0]

    out, d_scale = step(jnp.asarray(scale))
    np.testing.assert_allclose(out, 2 * np.asarray(x) + scale[:, None, None] * z, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(d_scale, z.sum((1, 2)), rtol=1e-5, atol=1e-4)


def check_clip(implementation: ImplementationName) -> None:
    """The result is held, noise and all, and the gradient is none where it was."""
    x, key = normal(0, 2, 64), jax.random.key(0)
    one = jnp.ones(1)
    free = np.asarray(compiled(implementation)((x,), one, jnp.ones(()), key))
    clipped = compiled(implementation)((x,), one, jnp.ones(()), key, clip=0.75)
    assert np.abs(free).max() > 0.75
    np.testing.assert_array_equal(clipped, np.clip(free, -0.75, 0.75))
    slope = jax.jit(jax.grad(lambda x: jnp.sum(compiled(implementation)((x,), one, clip=0.75))))(x)
    np.testing.assert_array_equal(slope, np.where(np.abs(x) < 0.75, 1.0, 0.0))


def check_transforms(implementation: ImplementationName) -> None:
    """Under vmap, scan and checkpoint, value and gradient are those of a call alone."""
    x, w = normal(0, 3, 2, 4), normal(1, 3, 2)
    keys = jax.random.split(jax.random.key(0), (3, 2))

    def loss(x: Array, w: Array, key: Array) -> tuple[Array, Array]:
        out = linear_step([x, x**2], w, noise_scale=0.5, key=key, implementation=implementation)
        return jnp.sum(out**2), out

    alone = jax.value_and_grad(loss, has_aux=True)
    recomputed = jax.value_and_grad(jax.checkpoint(loss), has_aux=True)

    @jax.jit
    def run() -> tuple[object, object, object]:
        _, walked = jax.lax.scan(lambda carry, part: (carry, recomputed(*part)), None, (x, w, keys))
        return jax.vmap(alone)(x, w, keys), walked, alone(x[1], w[1], keys[1])

    at_once, walked, one = run()
    for got in (at_once, walked):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5), got, one)


def check_standard_normal(z: HostArray) -> None:
    """``z`` of shape (streams, n): mean, variance, no correlation of streams, and the whole distribution."""
    b, n = z.shape
    # Five standard deviations of each statistic.
    np.testing.assert_allclose(z.mean(axis=1), np.zeros(b), atol=5 / np.sqrt(n))
    np.testing.assert_allclose(z.var(axis=1), np.ones(b), atol=5 * np.sqrt(2 / n))
    np.testing.assert_allclose((z**3).mean(axis=1), np.zeros(b), atol=5 * np.sqrt(15 / n))
    np.testing.assert_allclose((z**4).mean(axis=1), np.full(b, 3), atol=5 * np.sqrt(96 / n))
    correlation = z @ z.T / n - np.diag(np.mean(z**2, axis=1))
    np.testing.assert_allclose(correlation, np.zeros((b, b)), atol=5 / np.sqrt(n))
    for lag in (1, 2, 4):
        np.testing.assert_allclose((z[:, lag:] * z[:, :-lag]).mean(axis=1), np.zeros(b), atol=5 / np.sqrt(n))
    # Kolmogorov and Smirnov: sqrt(n) D stays below 2.5 with probability 1 - 7e-6.
    assert np.sqrt(b * n) * kstest(z.ravel(), "norm").statistic < 2.5
