"""What the Pallas and the Triton implementation share: when they can't run, and the gradient, which XLA computes."""

from collections.abc import Callable, Sequence
from typing import Final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from artifex.kernels.linear_step.noise import KeyWords, Noise, seeds
from artifex.kernels.linear_step.xla import xla
from artifex.kernels.partitioning import batch_parallel
from artifex.kernels.platform import why_no_pallas, why_no_triton

Rows = tuple[Float[Array, "b n"], ...]
Kernel = Callable[[Rows, Float[Array, "b k"], Float[Array, " b"] | None, KeyWords | None], tuple[Float[Array, "b n"]]]
"""Rows of the terms, weights, scale of the noise and words to draw it from."""

THREEFRY: Final = "threefry2x32"
MOST_TERMS: Final = 8
"""A kernel has a fixed number of pointers; those beyond a step's terms go unused."""


def why_not_pallas(
    terms: Sequence[Array],
    weights: Array,
    noise_scale: Array | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
) -> str | None:
    """Why the Pallas implementation takes no such arguments here; None where it does."""
    if keys is not None and noise == "philox":
        return "it draws the noise of threefry, and philox was asked for"
    return why_no_pallas() or _why_not(terms, weights, noise_scale, keys, clip, noise)


def why_not_triton(
    terms: Sequence[Array],
    weights: Array,
    noise_scale: Array | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
) -> str | None:
    """Why the Triton implementation takes no such arguments here; None where it does."""
    if len(terms) > MOST_TERMS:
        return f"it sums {MOST_TERMS} terms at most, and got {len(terms)}"
    return why_no_triton() or _why_not(terms, weights, noise_scale, keys, clip, noise)


def _why_not(
    terms: Sequence[Array],
    weights: Array,
    noise_scale: Array | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
) -> str | None:
    """Why no kernel takes these arguments; None where one does."""
    if weights.dtype == jnp.float64:
        return "it computes in float32, and got float64"
    if 0 in terms[0].shape:
        return f"there is nothing to compute in terms of shape {terms[0].shape}"
    if keys is not None and jax.random.key_impl(keys) != THREEFRY:
        return f"it draws noise from {THREEFRY} keys, and got a key of {jax.random.key_impl(keys)}"
    if keys is not None and noise == "key" and not jax.threefry_partitionable.value:
        return "it draws noise as JAX does with jax_threefry_partitionable, which is off"
    return None


def by_kernel(
    kernel: Kernel,
    terms: Sequence[Float[Array, "b *d"]],
    weights: Float[Array, "b k"],
    noise_scale: Float[Array, " b"] | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
) -> Float[Array, "b *d"]:
    """The step by ``kernel``, with the gradient of ``xla``, which draws the noise again where needed."""
    shape = terms[0].shape

    def unwrapped(words: KeyWords | None) -> Key[Array, " b"] | None:
        return None if words is None else jax.random.wrap_key_data(words, impl=THREEFRY)

    @jax.custom_vjp
    def step(rows: Rows, weights: Array, noise_scale: Array | None, words: KeyWords | None) -> Array:
        keys = unwrapped(words)
        return batch_parallel(kernel)(rows, weights, noise_scale, None if keys is None else seeds(keys, noise))[0]

    def forward(
        rows: Rows, weights: Array, noise_scale: Array | None, words: KeyWords | None
    ) -> tuple[Array, tuple[Rows, Array, Array | None, KeyWords | None]]:
        return step(rows, weights, noise_scale, words), (rows, weights, noise_scale, words)

    def backward(
        saved: tuple[Rows, Array, Array | None, KeyWords | None], cotangent: Array
    ) -> tuple[Rows, Array, Array | None, None]:
        *moving, words = saved

        def plain(rows: Rows, weights: Array, noise_scale: Array | None) -> Array:
            out: Array = xla(rows, weights, noise_scale, unwrapped(words), clip, noise)
            return out

        return (*jax.vjp(plain, *moving)[1](cotangent), None)

    step.defvjp(forward, backward)
    rows = tuple(term.reshape(shape[0], -1) for term in terms)
    out: Array = step(rows, weights, noise_scale, None if keys is None else jax.random.key_data(keys))
    return out.reshape(shape)
