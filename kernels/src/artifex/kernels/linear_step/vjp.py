"""The custom gradient of linear_step that the fused implementations share: the one of ``xla``."""

from collections.abc import Callable, Sequence

import jax
from jaxtyping import Array, Float, Key

from artifex.kernels.linear_step.noise import THREEFRY, KeyWords, Noise, seeds
from artifex.kernels.linear_step.xla import xla
from artifex.kernels.partitioning import batch_parallel

Rows = tuple[Float[Array, "b n"], ...]
Residuals = tuple[Rows, Array, Array | None, KeyWords | None]
Kernel = Callable[[Rows, Float[Array, "b k"], Float[Array, " b"] | None, KeyWords | None], tuple[Float[Array, "b n"]]]
"""A function of the terms as rows, their weights, the scale of the noise and the words of its generator."""


def with_vjp(
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

    def wrapped(words: KeyWords | None) -> Key[Array, " b"] | None:
        return None if words is None else jax.random.wrap_key_data(words, impl=THREEFRY)

    @jax.custom_vjp
    def step(rows: Rows, weights: Array, noise_scale: Array | None, words: KeyWords | None) -> Array:
        keys = wrapped(words)
        return batch_parallel(kernel)(rows, weights, noise_scale, None if keys is None else seeds(keys, noise))[0]

    def fwd(rows: Rows, weights: Array, noise_scale: Array | None, words: KeyWords | None) -> tuple[Array, Residuals]:
        return step(rows, weights, noise_scale, words), (rows, weights, noise_scale, words)

    def bwd(residuals: Residuals, cotangent: Array) -> tuple[Rows, Array, Array | None, None]:
        *moving, words = residuals

        def plain(rows: Rows, weights: Array, noise_scale: Array | None) -> Array:
            out: Array = xla(rows, weights, noise_scale, wrapped(words), clip, noise)
            return out

        return (*jax.vjp(plain, *moving)[1](cotangent), None)

    step.defvjp(fwd, bwd)
    rows = tuple(term.reshape(shape[0], -1) for term in terms)
    out: Array = step(rows, weights, noise_scale, None if keys is None else jax.random.key_data(keys))
    return out.reshape(shape)
