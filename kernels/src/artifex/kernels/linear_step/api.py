"""The contract of the linear step: what samplers, the forward process and guidance have in common."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

from artifex.kernels.dispatch import Implementation, resolve
from artifex.kernels.linear_step.reference import reference
from artifex.kernels.linear_step.xla import xla

Terms = Sequence[Float[Array, "b *d"]]
"""Arrays of one shape, the batch in front."""


def sample_keys(key: Key[Array, "..."] | UInt32[Array, "..."], batch: int) -> Key[Array, " b"]:
    """One key a sample: ``key`` itself where it holds ``batch`` keys, else ``fold_in(key, i)`` for sample ``i``.

    So a sample's noise depends on its own place and never on how many others stand beside it.

    Raises:
        ValueError: if ``key`` is neither one key nor ``batch`` keys.
    """
    typed = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    if typed.shape == ():
        return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(typed, jnp.arange(batch))
    if typed.shape != (batch,):
        raise ValueError(f"key must be one key or {batch} keys, one a sample, got keys of shape {typed.shape}")
    return typed


def linear_step(
    terms: Terms,
    weights: Float[Array, "*b n"],
    *,
    noise_scale: Float[Array, "*b"] | float | None = None,
    key: Key[Array, "..."] | UInt32[Array, "..."] | None = None,
    clip: float | None = None,
    implementation: Implementation | None = None,
) -> Float[Array, "b *d"]:
    r"""A weighted sum of arrays plus Gaussian noise, in one pass.

    $$\mathrm{out}_b = \mathrm{clip}\Big(\sum_j w_{bj}\, \mathrm{terms}_{jb} + s_b z_b\Big),\qquad
      z_b \sim \mathcal N(0, I)\ \text{from the key of sample } b$$

    Args:
        terms: arrays of one shape ``(batch, ...)`` and a floating dtype; the sum is formed in float32 at least and
            given back in the dtype of the first.
        weights: ``(n,)`` for all samples alike, or ``(batch, n)``.
        noise_scale: standard deviation of the noise, one number or ``(batch,)``; None adds none and needs no key.
        key: one key, or one a sample, ``(batch,)``; see ``sample_keys``.
        clip: the result is held to ``[-clip, clip]``.
        implementation: the body to run; None takes the fastest that is known. All draw the same threefry noise.

    Raises:
        ValueError: for no terms, shapes or dtypes that don't fit, or noise without a key.
        UnsupportedKernelError: if ``implementation`` names a body that does not exist.
    """
    _check_terms(terms)
    batch = terms[0].shape[0]
    wide = jnp.promote_types(terms[0].dtype, jnp.float32)
    weights = jnp.asarray(weights, wide)
    if weights.shape not in ((len(terms),), (batch, len(terms))):
        raise ValueError(
            f"weights must be of shape {(len(terms),)} or {(batch, len(terms))}, one column a term, got {weights.shape}"
        )
    if (noise_scale is None) != (key is None):
        raise ValueError("noise_scale and key go together: got " + ("a key alone" if key is not None else "no key"))
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be positive or None, got {clip}")
    scale = keys = None
    if noise_scale is not None and key is not None:
        scale = jnp.asarray(noise_scale, wide)
        if scale.shape not in ((), (batch,)):
            raise ValueError(f"noise_scale must be one number or of shape {(batch,)}, got {scale.shape}")
        scale = jnp.broadcast_to(scale, (batch,))
        keys = sample_keys(key, batch)
    body = resolve("linear_step", implementation, {"reference": reference, "xla": xla}, default="xla")
    return body(terms, jnp.broadcast_to(weights, (batch, len(terms))), scale, keys, clip)


def _check_terms(terms: Terms) -> None:
    """Raises a ValueError unless there are terms of one shape and of floating dtypes."""
    if not terms:
        raise ValueError("terms must hold at least one array, got none")
    for term in terms:
        if term.shape != terms[0].shape or term.ndim == 0:
            raise ValueError(f"terms must be of one shape (batch, ...), got {[t.shape for t in terms]}")
        if not jnp.issubdtype(term.dtype, jnp.floating):
            raise ValueError(f"terms must be of floating dtypes, got {[str(t.dtype) for t in terms]}")
