"""Group norm from passes over the image, and the custom gradient that the fused implementations share.

Channels are summed separately, over parts of the image in parallel, and groups are formed from the sums. So every pass
reads whole rows, however few channels a group has.
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
    """The kernels, over images ``(b, p, c)``, with vectors ``(b, c)`` and partial sums ``(b, parts, 1, c)``.

    Attributes:
        moments: from ``x``, the mean of each part and the sum of squares about it.
        part: pixels of a part; the last one may have fewer.
        apply: from ``x, a, m``, ``silu(a x + m)``.
        sums: from ``x, d_y, a, m, mean, rstd``, partial sums of ``d_u`` and of ``d_u (x - mean) rstd``, where ``d_u``
            is the cotangent of ``u = a x + m``.
        pull: from ``x, d_y, a, m, p, q``, ``a d_u + p x + q``.
    """

    moments: Callable[..., tuple[Array, ...]]
    part: int
    apply: Callable[..., tuple[Array, ...]]
    sums: Callable[..., tuple[Array, ...]]
    pull: Callable[..., tuple[Array, ...]]


def with_vjp(
    passes: Passes, x: Float[Array, "b *p c"], weight: Vector, bias: Vector, groups: int, epsilon: float
) -> Float[Array, "b *p c"]:
    """``group_norm_silu`` by four kernels; the residuals are ``x`` and vectors."""
    (b, c), pixels = weight.shape, x.reshape(x.shape[0], -1, x.shape[-1])
    p = pixels.shape[1]

    def group(v: Vector) -> Vector:
        """The mean of each group, at each of its channels."""
        means = v.reshape(b, groups, -1).mean(-1, keepdims=True)
        return jnp.broadcast_to(means, (b, groups, c // groups)).reshape(b, c)

    def statistics(x: Array) -> tuple[Vector, Vector]:
        means, squares = (v[:, :, 0] for v in batch_parallel(passes.moments)(x))
        starts = jnp.arange(means.shape[1]) * passes.part
        sizes = jnp.minimum(passes.part, p - starts).astype(means.dtype)[None, :, None]
        mean = group((sizes * means).sum(1) / p)
        # Chan, Golub and LeVeque: squares about the means of the parts, and the squares of these about the group's.
        var = group((squares + sizes * (means - mean[:, None]) ** 2).sum(1) / p)
        return mean, lax.rsqrt(var + epsilon)

    @jax.custom_vjp
    def run(x: Array, weight: Vector, bias: Vector) -> Array:
        return fwd(x, weight, bias)[0]

    def fwd(x: Array, weight: Vector, bias: Vector) -> tuple[Array, tuple[Array, ...]]:
        mean, rstd = statistics(x)
        a = weight * rstd
        m = bias - a * mean
        (y,) = batch_parallel(passes.apply)(x, a, m)
        return y, (x, a, m, mean, rstd, weight)

    def bwd(residuals: tuple[Array, ...], d_y: Array) -> tuple[Array, Vector, Vector]:
        x, a, m, mean, rstd, weight = residuals
        d_bias, d_weight = (v.sum((1, 2)) for v in batch_parallel(passes.sums)(x, d_y, a, m, mean, rstd))
        # d_x = rstd (w d_u - <w d_u> - n <w d_u n>) with the norm n = (x - mean) rstd
        mean_d, mean_dn = group(weight * d_bias) / p, group(weight * d_weight) / p
        slope = -rstd * rstd * mean_dn
        (d_x,) = batch_parallel(passes.pull)(x, d_y, a, m, slope, -rstd * mean_d - slope * mean)
        return d_x, d_weight, d_bias

    run.defvjp(fwd, bwd)
    return run(*match_varying((pixels, weight, bias))).reshape(x.shape)
