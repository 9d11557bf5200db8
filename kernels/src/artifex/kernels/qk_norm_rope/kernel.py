"""The gradient that the fused implementations of qk_norm_rope share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.partitioning import batch_parallel
from artifex.kernels.platform import match_varying

Kernel = Callable[..., tuple[Array, ...]]


def by_kernel(
    forward: Kernel,
    backward: Kernel,
    x: Float[Array, "b t h d"],
    gain: Float[Array, " d"],
    cos: Float[Array, "#b t a n"],
    sin: Float[Array, "#b t a n"],
) -> Float[Array, "b t h d"]:
    """``qk_norm_rope`` by two kernels. For the gradient ``x`` is kept, and the norm is made anew.

    Args:
        forward: takes ``x``, ``gain`` as ``(1, d)``, and ``cos`` and ``sin`` for every number of a head,
            ``(1 or b, t, d)``; gives the rotated norm.
        backward: takes these and the cotangent of the result; gives that of ``x``, and of ``gain`` in parts
            ``(b, parts, 1, d)``.
        x: see ``qk_norm_rope``, as all that follows.
        gain: likewise.
        cos: likewise.
        sin: likewise.
    """
    inputs = ("bth", "b", "b", "b")

    @jax.custom_vjp
    def run(x: Array, gain: Array, cos: Array, sin: Array) -> Array:
        return batch_parallel(forward, inputs, ("bth",))(x, gain, cos, sin)[0]

    def ahead(*args: Array) -> tuple[Array, tuple[Array, ...]]:
        return run(*args), args

    def back(kept: tuple[Array, ...], d_y: Array) -> tuple[Array, ...]:
        d_x, d_gains = batch_parallel(pull, (*inputs, "bth"), ("bth", "b"))(*kept, d_y)
        return d_x, d_gains.sum(0, keepdims=True), jnp.zeros_like(kept[2]), jnp.zeros_like(kept[3])

    def pull(*args: Array) -> tuple[Array, ...]:
        """How many parts there are depends on the heads of a device, so they are summed there."""
        d_x, parts = backward(*args)
        return d_x, parts.sum((1, 2))

    run.defvjp(ahead, back)
    return run(*match_varying((x, gain[None], _for_both(cos), _for_both(sin))))


def _for_both(turn: Float[Array, "b t a n"]) -> Float[Array, "b t d"]:
    """What belongs to a pair, for both of its numbers."""
    b, t, a, n = turn.shape
    return jnp.broadcast_to(turn[:, :, :, None], (b, t, a, 2, n)).reshape(b, t, 2 * a * n)
