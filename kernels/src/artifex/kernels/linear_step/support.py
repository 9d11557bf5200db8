"""Reasons why an implementation of linear_step can't run; None where it can."""

from collections.abc import Sequence
from typing import Final

import jax
from jaxtyping import Array, Key

from artifex.kernels.checks import float64_reason
from artifex.kernels.linear_step.noise import THREEFRY, Noise
from artifex.kernels.platform import no_pallas_reason, no_triton_reason

MAX_TERMS: Final = 8
"""The Triton kernel has a fixed number of pointers; those beyond a step's terms go unused."""


def pallas(
    terms: Sequence[Array],
    weights: Array,
    noise_scale: Array | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
) -> str | None:
    """Of ``pallas``."""
    if keys is not None and noise == "philox":
        return "it draws the noise of threefry, and philox was requested"
    return no_pallas_reason() or _kernel(terms, weights, keys, noise)


def triton(
    terms: Sequence[Array],
    weights: Array,
    noise_scale: Array | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
) -> str | None:
    """Of ``triton``."""
    if len(terms) > MAX_TERMS:
        return f"it sums {MAX_TERMS} terms at most, and got {len(terms)}"
    return no_triton_reason() or _kernel(terms, weights, keys, noise)


def _kernel(terms: Sequence[Array], weights: Array, keys: Key[Array, " b"] | None, noise: Noise) -> str | None:
    """Of either kernel."""
    if (reason := float64_reason(weights)) is not None:
        return reason
    if 0 in terms[0].shape:
        return f"there is nothing to compute in terms of shape {terms[0].shape}"
    if keys is not None and jax.random.key_impl(keys) != THREEFRY:
        return f"it draws noise from {THREEFRY} keys, and got a key of {jax.random.key_impl(keys)}"
    if keys is not None and noise == "key" and not jax.threefry_partitionable.value:
        return "it draws noise as JAX does with jax_threefry_partitionable, which is off"
    return None
