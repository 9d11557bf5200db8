"""The contract of group norm with its modulation and SiLU."""

from collections.abc import Mapping
from typing import Final

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.checks import check_axes, check_dtype, check_shape
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.group_norm_silu import support
from artifex.kernels.group_norm_silu.config import FASTEST
from artifex.kernels.group_norm_silu.pallas import pallas
from artifex.kernels.group_norm_silu.reference import reference
from artifex.kernels.group_norm_silu.xla import xla
from artifex.kernels.ranges import check_positive, check_whole

Run = Implementation[[Array, Array, Array, int, float, bool], Array]


def _triton(x: Array, weight: Array, bias: Array, groups: int, epsilon: float, silu: bool) -> Array:
    from artifex.kernels.group_norm_silu.triton import triton

    y: Array = triton(x, weight, bias, groups, epsilon, silu)
    return y


IMPLEMENTATIONS: Final[Mapping[ImplementationName, Run]] = {
    "reference": Implementation(reference),
    "xla": Implementation(xla),
    "pallas": Implementation(pallas, support.pallas),
    "triton": Implementation(_triton, support.triton),
}


def group_norm_silu(
    x: Float[Array, "b *p c"],
    gamma: Float[Array, " c"],
    beta: Float[Array, " c"],
    *,
    groups: int,
    scale: Float[Array, "b c"] | None = None,
    shift: Float[Array, "b c"] | None = None,
    silu: bool = True,
    epsilon: float = 1e-6,
    implementation: ImplementationName | None = None,
) -> Float[Array, "b *p c"]:
    r"""Group norm over all pixels, modulated by the condition, and SiLU.

    $$y = \mathrm{silu}\Big(\Big(\gamma\,\frac{x - \mu_g}{\sqrt{\sigma_g^2 + \epsilon}} + \beta\Big)
      (1 + \mathrm{scale}) + \mathrm{shift}\Big),\qquad \mathrm{silu}(u) = \frac{u}{1 + e^{-u}}$$

    with mean $\mu_g$ and variance $\sigma_g^2$ of a sample over the pixels and channels of a group. Everything is
    computed in float32 at least. ``xla`` takes the variance from sums of squares, which multiplies its rounding error
    by $\mu_g^2 / \sigma_g^2$: choose another for means hundreds of times as large as the standard deviation.

    Args:
        x: ``(batch, height, width, channels)``, or any other number of spatial axes, at least one; of dtype float16,
            bfloat16, float32 or float64.
        gamma: ``(channels,)``, of any of these dtypes.
        beta: ``(channels,)``, of any of these dtypes.
        groups: number of groups of consecutive channels, all of one size.
        scale: ``(batch, channels)``; required with ``shift`` and only then.
        shift: ``(batch, channels)``; required with ``scale`` and only then.
        silu: whether to apply the SiLU.
        epsilon: added to the variance, positive.
        implementation: which one to run; None takes the fastest that is known.

    Returns:
        An array of the shape and dtype of ``x``.

    Raises:
        ValueError: for shapes or dtypes that don't fit each other, an empty axis, groups that don't divide the
            channels, a scale without its shift, or an epsilon that is not positive.
        UnsupportedKernelError: if ``implementation`` names one that does not exist or can't run here.

    References: Wu and He 2018, https://arxiv.org/abs/1803.08494; Dhariwal and Nichol 2021 for the modulation,
        https://arxiv.org/abs/2105.05233
    """
    check_axes("x", x, "(batch, ..., channels) with at least one spatial axis", 3, 32)
    check_dtype("x", x)
    b, c = x.shape[0], x.shape[-1]
    check_shape("gamma", gamma, "(channels,)", (c,))
    check_shape("beta", beta, "(channels,)", (c,))
    check_whole("groups", groups, 1)
    if c % groups:
        raise ValueError(f"groups must be positive and divide the {c} channels, got {groups}")
    if (scale is None) != (shift is None):
        raise ValueError(f"scale and shift go together, got {'shift' if scale is None else 'scale'} alone")
    check_positive("epsilon", epsilon)
    wide = accumulation_dtype(x.dtype)
    weight, bias = gamma.astype(wide)[None], beta.astype(wide)[None]
    if scale is not None and shift is not None:
        check_shape("scale", scale, "(batch, channels)", (b, c))
        check_shape("shift", shift, "(batch, channels)", (b, c))
        factor = 1 + scale.astype(wide)
        weight, bias = weight * factor, bias * factor + shift.astype(wide)
    vectors = jnp.broadcast_to(weight, (b, c)), jnp.broadcast_to(bias, (b, c))
    return dispatch(
        "group_norm_silu", implementation, IMPLEMENTATIONS, FASTEST, x, *vectors, groups, float(epsilon), silu
    )
