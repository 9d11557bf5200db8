"""The custom gradient of qk_norm_rope that the fused implementations share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.partitioning import batch_parallel
from artifex.kernels.platform import match_varying

Kernel = Callable[..., tuple[Array, ...]]


def with_vjp(
    forward: Kernel,
    backward: Kernel,
    x: Float[Array, "b t h d"],
    gain: Float[Array, " d"],
    cos: Float[Array, "#b t a n"],
    sin: Float[Array, "#b t a n"],
) -> Float[Array, "b t h d"]:
    """``qk_norm_rope`` by two kernels; the residual is ``x``, whose norm is recomputed.

    Args:
        forward: takes ``x``, ``gain`` as ``(1, d)``, and ``cos`` and ``sin`` for every element of a head,
            ``(1 or b, t, d)``; returns the rotated norm.
        backward: takes these and the cotangent of the result; returns that of ``x``, and of ``gain`` as partial sums
            ``(b, parts, 1, d)``.
        x: see ``qk_norm_rope``.
        gain: weights of the normalized heads.
        cos: of the angle of each pair.
        sin: of the angle of each pair.
    """
    inputs = ("bth", "b", "b", "b")

    @jax.custom_vjp
    def run(x: Array, gain: Array, cos: Array, sin: Array) -> Array:
        return batch_parallel(forward, inputs, ("bth",))(x, gain, cos, sin)[0]

    def fwd(*args: Array) -> tuple[Array, tuple[Array, ...]]:
        return run(*args), args

    def bwd(residuals: tuple[Array, ...], d_y: Array) -> tuple[Array, ...]:
        d_x, d_gains = batch_parallel(summed, (*inputs, "bth"), ("bth", "b"))(*residuals, d_y)
        return d_x, d_gains.sum(0, keepdims=True), jnp.zeros_like(residuals[2]), jnp.zeros_like(residuals[3])

    def summed(*args: Array) -> tuple[Array, ...]:
        """``backward`` with its partial sums added: their number depends on the heads of a device."""
        d_x, parts = backward(*args)
        return d_x, parts.sum((1, 2))

    run.defvjp(fwd, bwd)
    return run(*match_varying((x, gain[None], _by_element(cos), _by_element(sin))))


def _by_element(pairs: Float[Array, "b t a n"]) -> Float[Array, "b t d"]:
    """The value of each pair, for both of its elements."""
    b, t, a, n = pairs.shape
    return jnp.broadcast_to(pairs[:, :, :, None], (b, t, a, 2, n)).reshape(b, t, 2 * a * n)
