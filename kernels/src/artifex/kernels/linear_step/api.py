"""The contract of the linear step, which samplers, the forward process and guidance share."""

from collections.abc import Mapping, Sequence
from typing import Final, get_args

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key, UInt32

from artifex.kernels.checks import check_dtype
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.linear_step import support
from artifex.kernels.linear_step.config import FASTEST
from artifex.kernels.linear_step.noise import Noise, sample_keys
from artifex.kernels.linear_step.pallas import pallas
from artifex.kernels.linear_step.reference import reference
from artifex.kernels.linear_step.xla import xla
from artifex.kernels.ranges import check_number, check_positive

Terms = Sequence[Float[Array, "b *d"]]
"""Arrays of one shape, with the batch first."""


def _triton(
    terms: Terms, weights: Array, noise_scale: Array | None, keys: Array | None, clip: float | None, noise: Noise
) -> Array:
    from artifex.kernels.linear_step.triton import triton

    out: Array = triton(terms, weights, noise_scale, keys, clip, noise)
    return out


Run = Implementation[[Terms, Array, Array | None, Array | None, float | None, Noise], Array]
IMPLEMENTATIONS: Final[Mapping[ImplementationName, Run]] = {
    "reference": Implementation(reference),
    "xla": Implementation(xla),
    "pallas": Implementation(pallas, support.pallas),
    "triton": Implementation(_triton, support.triton),
}


def linear_step(
    terms: Terms,
    weights: ArrayLike,
    *,
    noise_scale: ArrayLike | None = None,
    key: Key[Array, "..."] | UInt32[Array, "..."] | None = None,
    clip: float | None = None,
    noise: Noise = "key",
    implementation: ImplementationName | None = None,
) -> Float[Array, "b *d"]:
    r"""A weighted sum of arrays plus Gaussian noise, in one pass.

    $$\mathrm{out}_b = \mathrm{clip}\Big(\sum_j w_{bj}\, \mathrm{terms}_{jb} + s_b z_b\Big),\qquad
      z_b \sim \mathcal N(0, I)\ \text{from the key of sample } b$$

    Args:
        terms: arrays of one shape ``(batch, ...)`` and of dtype float16, bfloat16, float32 or float64; the sum is
            computed in the widest of their dtypes, float32 at least, and returned in the dtype of the first.
        weights: ``(n,)`` for all samples, or ``(batch, n)``.
        noise_scale: standard deviation of the noise, at least 0, one number or ``(batch,)``; None adds none and needs
            no key.
        key: one key, or one per sample, ``(batch,)``; see ``sample_keys``.
        clip: bound of the result's absolute value, noise included.
        noise: ``"key"`` is what ``jax.random.normal`` draws from each sample's key. From a threefry key (JAX's default)
            all implementations draw the same 32 random bits for each number and the same uniform number; the normal
            numbers agree within 3e-5. ``"philox"`` is cheaper in ``triton`` alone and guarantees only the
            distribution: standard normal, independent, the same for the same key and implementation.
        implementation: which one to run; None takes the fastest that is known.

    Returns:
        An array of the shape and dtype of the first term.

    Raises:
        ValueError: for no terms, shapes or dtypes that don't fit, a clip that is not positive, noise without a key, or
            of an unknown kind.
        UnsupportedKernelError: if ``implementation`` names one that does not exist or can't run here.
    """
    terms = tuple(terms)
    _check_terms(terms)
    batch = terms[0].shape[0]
    wide = accumulation_dtype(*(term.dtype for term in terms))
    weights = jnp.asarray(weights, wide)
    if weights.shape not in ((len(terms),), (batch, len(terms))):
        raise ValueError(
            f"weights must be of shape {(len(terms),)} or {(batch, len(terms))}, one column a term, got {weights.shape}"
        )
    if (noise_scale is None) != (key is None):
        raise ValueError(f"noise_scale and key go together, got {'no key' if key is None else 'a key alone'}")
    if clip is not None:
        check_positive("clip", clip)
    if noise_scale is not None and not isinstance(noise_scale, jax.Array):
        check_number("noise_scale", noise_scale, 0)
    if noise not in get_args(Noise):
        raise ValueError(f"noise must be one of {', '.join(get_args(Noise))}, got {noise!r}")
    scale = keys = None
    if noise_scale is not None and key is not None:
        scale = jnp.asarray(noise_scale, wide)
        if scale.shape not in ((), (batch,)):
            raise ValueError(f"noise_scale must be one number or of shape {(batch,)}, got {scale.shape}")
        scale = jnp.broadcast_to(scale, (batch,))
        keys = sample_keys(key, batch)
    weights = jnp.broadcast_to(weights, (batch, len(terms)))
    return dispatch("linear_step", implementation, IMPLEMENTATIONS, FASTEST, terms, weights, scale, keys, clip, noise)


def _check_terms(terms: Terms) -> None:
    """Raise a ValueError unless there are terms of one shape and of dtypes that kernels compute in."""
    if not terms:
        raise ValueError("terms must hold at least one array, got none")
    for j, term in enumerate(terms):
        if term.shape != terms[0].shape or term.ndim == 0:
            raise ValueError(f"terms must be of one shape (batch, ...), got {[t.shape for t in terms]}")
        check_dtype(f"terms[{j}]", term)
