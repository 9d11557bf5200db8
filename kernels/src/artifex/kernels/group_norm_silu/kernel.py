"""Group norm from passes over the image, and the gradient that the fused implementations share.

A sample's channels are summed apart from each other, over pieces of its places that run side by side; groups are
formed of the sums. So every pass reads whole rows, however few channels a group has.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from artifex.kernels.partitioning import batch_parallel
from artifex.kernels.platform import match_varying

Vector = Float[Array, "b c"]


@dataclass(frozen=True)
class Passes:
    """The kernels, over images ``(b, p, c)``; vectors are ``(b, c)``, parts of their sums ``(b, parts, 1, c)``.

    Attributes:
        moments: of ``x``: the mean of each part, and the sum of squares about it.
        part: how many places a part holds; the last one may be short.
        apply: of ``x, a, m``: ``silu(a x + m)``.
        sums: of ``x, d_y, a, m, mean, rstd``: parts of the sums of ``d_u`` and ``d_u (x - mean) rstd``, where ``d_u``
            is the cotangent of ``u = a x + m``.
        pull: of ``x, d_y, a, m, p, q``: ``a d_u + p x + q``.
    """

    moments: Callable[..., tuple[Array, ...]]
    part: int
    apply: Callable[..., tuple[Array, ...]]
    sums: Callable[..., tuple[Array, ...]]
    pull: Callable[..., tuple[Array, ...]]


def by_kernel(
    passes: Passes, x: Float[Array, "b *p c"], weight: Vector, bias: Vector, groups: int, epsilon: float
) -> Float[Array, "b *p c"]:
    """``group_norm_silu`` by four kernels. For the gradient ``x`` is kept, and vectors."""
    (b, c), places = weight.shape, x.reshape(x.shape[0], -1, x.shape[-1])
    p = places.shape[1]

    def group(v: Vector) -> Vector:
        """The mean of each group, at each of its channels."""
        means = v.reshape(b, groups, -1).mean(-1, keepdims=True)
        return jnp.broadcast_to(means, (b, groups, c // groups)).reshape(b, c)

    def statistics(x: Array) -> tuple[Vector, Vector]:
        means, squares = (v[:, :, 0] for v in batch_parallel(passes.moments)(x))
        starts = jnp.arange(means.shape[1]) * passes.part
        sizes = jnp.minimum(passes.part, p - starts).astype(means.dtype)[None, :, None]
        mean = group((sizes * means).sum(1) / p)
        # Chan, Golub and LeVeque: squares about the parts' means, and what these differ by from the group's.
        var = group((squares + sizes * (means - mean[:, None]) ** 2).sum(1) / p)
        return mean, lax.rsqrt(var + epsilon)

    @jax.custom_vjp
    def run(x: Array, weight: Vector, bias: Vector) -> Array:
        return ahead(x, weight, bias)[0]

    def ahead(x: Array, weight: Vector, bias: Vector) -> tuple[Array, tuple[Array, ...]]:
        mean, rstd = statistics(x)
        a = weight * rstd
        m = bias - a * mean
        (y,) = batch_parallel(passes.apply)(x, a, m)
        return y, (x, a, m, mean, rstd, weight)

    def back(kept: tuple[Array, ...], d_y: Array) -> tuple[Array, Vector, Vector]:
        x, a, m, mean, rstd, weight = kept
        d_bias, d_weight = (v.sum((1, 2)) for v in batch_parallel(passes.sums)(x, d_y, a, m, mean, rstd))
        # d_x = rstd (w d_u - <w d_u> - n <w d_u n>) with the norm n = (x - mean) rstd
        centre, along = group(weight * d_bias) / p, group(weight * d_weight) / p
        slope = -rstd * rstd * along
        (d_x,) = batch_parallel(passes.pull)(x, d_y, a, m, slope, -rstd * centre - slope * mean)
        return d_x, d_weight, d_bias

    run.defvjp(ahead, back)
    return run(*match_varying((places, weight, bias))).reshape(x.shape)
