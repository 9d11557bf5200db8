"""The contract of the guided combination: classifier-free guidance, with rescale and dynamic threshold."""

from collections.abc import Mapping
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from artifex.kernels.checks import check_dtype
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.guided_combine import support
from artifex.kernels.guided_combine.config import FASTEST
from artifex.kernels.guided_combine.pallas import pallas
from artifex.kernels.guided_combine.reference import reference
from artifex.kernels.guided_combine.threshold import DynamicThreshold
from artifex.kernels.guided_combine.xla import xla


def _triton(
    conditional: Array, unconditional: Array, scale: Array, rescale: Array | None, threshold: DynamicThreshold | None
) -> Array:
    from artifex.kernels.guided_combine.triton import triton

    out: Array = triton(conditional, unconditional, scale, rescale, threshold)
    return out


Run = Implementation[[Array, Array, Array, Array | None, DynamicThreshold | None], Array]
IMPLEMENTATIONS: Final[Mapping[ImplementationName, Run]] = {
    "reference": Implementation(reference),
    "xla": Implementation(xla),
    "pallas": Implementation(pallas, support.pallas),
    "triton": Implementation(_triton, support.triton),
}


def guided_combine(
    conditional: Float[Array, "b *d"],
    unconditional: Float[Array, "b *d"],
    scale: ArrayLike,
    *,
    rescale: ArrayLike | None = None,
    threshold: DynamicThreshold | None = None,
    implementation: ImplementationName | None = None,
) -> Float[Array, "b *d"]:
    r"""Combine a conditional and an unconditional output, with each sample's result kept in range.

    $$g_b = c_b + (w_b - 1)(c_b - u_b),\qquad
      g_b' = \Big(1 + \phi_b\Big(\frac{\mathrm{std}(c_b)}{\mathrm{std}(g_b)} - 1\Big)\Big)\, g_b$$

    followed by ``threshold``. Without either it is a ``linear_step`` of two terms.

    Args:
        conditional: $c$, ``(batch, ...)``, of dtype float16, bfloat16, float32 or float64; computed in float32
            at least.
        unconditional: $u$, of the same shape.
        scale: $w$, one number or ``(batch,)``; 1 gives ``conditional`` itself, 0 ``unconditional``.
        rescale: $\phi$ in [0, 1], one number or ``(batch,)``; 1 gives each sample the standard deviation of its
            conditional output, over all its axes. None, or a constant sample, is not rescaled.
        threshold: range to which each sample is clipped after ``rescale``; for outputs that are data.
        implementation: which one to run; None takes the fastest that is known.

    Returns:
        An array of the shape and dtype of ``conditional``.

    Raises:
        ValueError: for shapes or dtypes that don't fit, an empty axis, or a ``rescale`` known to be outside its range.
        UnsupportedKernelError: if ``implementation`` names one that does not exist or can't run here.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598; Lin et al. 2023 (rescale),
        https://arxiv.org/abs/2305.08891; Saharia et al. 2022 (threshold), https://arxiv.org/abs/2205.11487
    """
    shape = conditional.shape
    if unconditional.shape != shape:
        raise ValueError(f"conditional and unconditional must be of one shape, got {shape} and {unconditional.shape}")
    if not shape or 0 in shape:
        raise ValueError(f"conditional must be (batch, ...) with no empty axis, got shape {shape}")
    check_dtype("conditional", conditional)
    check_dtype("unconditional", unconditional)
    wide = accumulation_dtype(conditional.dtype, unconditional.dtype)
    weight = _each("scale", scale, shape[0], wide)
    factor = None if rescale is None else _each("rescale", rescale, shape[0], wide)
    if factor is not None and not isinstance(factor, jax.core.Tracer):
        host = np.asarray(factor)
        if not np.all((host >= 0) & (host <= 1)):
            raise ValueError(f"rescale must be in [0, 1], got {rescale}")
    c, u = (x.reshape(shape[0], -1) for x in (conditional, unconditional))
    return dispatch(
        "guided_combine", implementation, IMPLEMENTATIONS, FASTEST, c, u, weight, factor, threshold
    ).reshape(shape)


def _each(name: str, value: ArrayLike, batch: int, dtype: jnp.dtype) -> Array:
    """``value`` for each sample; raises a ValueError unless it is one number or one a sample."""
    array = jnp.asarray(value, dtype)
    if array.shape not in ((), (batch,)):
        raise ValueError(f"{name} must be one number or of shape {(batch,)}, got {array.shape}")
    return jnp.broadcast_to(array, (batch,))
