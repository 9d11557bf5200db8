"""The contract of the modulated layer norm of a diffusion transformer."""

from collections.abc import Mapping
from typing import Final

from jaxtyping import Array, Float

from artifex.kernels.adaln import support
from artifex.kernels.adaln.config import FASTEST
from artifex.kernels.adaln.pallas import pallas
from artifex.kernels.adaln.reference import reference
from artifex.kernels.adaln.xla import xla
from artifex.kernels.checks import check_axes, check_dtype, check_shape
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.ranges import check_positive

Run = Implementation[[Array, Array | None, Array | None, Array, Array, float], tuple[Array, Array]]


def _triton(
    x: Array, branch: Array | None, gate: Array | None, scale: Array, shift: Array, epsilon: float
) -> tuple[Array, Array]:
    from artifex.kernels.adaln.triton import triton

    h, y = triton(x, branch, gate, scale, shift, epsilon)
    return h, y


IMPLEMENTATIONS: Final[Mapping[ImplementationName, Run]] = {
    "reference": Implementation(reference),
    "xla": Implementation(xla),
    "pallas": Implementation(pallas, support.pallas),
    "triton": Implementation(_triton, support.triton),
}


def adaln(
    x: Float[Array, "b t c"],
    scale: Float[Array, "b c"],
    shift: Float[Array, "b c"],
    *,
    branch: Float[Array, "b t c"] | None = None,
    gate: Float[Array, "b c"] | None = None,
    epsilon: float = 1e-6,
    implementation: ImplementationName | None = None,
) -> tuple[Float[Array, "b t c"], Float[Array, "b t c"]]:
    r"""A gated residual and its layer norm, scaled and shifted by the condition.

    $$h = x + \mathrm{gate} \cdot \mathrm{branch},\qquad
      y = \frac{h - \mu}{\sqrt{\sigma^2 + \epsilon}}\,(1 + \mathrm{scale}) + \mathrm{shift}$$

    with mean $\mu$ and variance $\sigma^2$ of a token over its channels. Everything is computed in float32 at least;
    ``y`` is the norm of ``h`` after rounding to the dtype of ``x``.

    Args:
        x: tokens, ``(batch, tokens, channels)``, of dtype float16, bfloat16, float32 or float64.
        scale: ``(batch, channels)``, of any of these dtypes.
        shift: ``(batch, channels)``, of any of these dtypes.
        branch: output of a branch, of the shape and dtype of ``x``; None adds nothing, and ``h`` is ``x``.
        gate: ``(batch, channels)``, weights of the branch; required with it and only then.
        epsilon: added to the variance, positive.
        implementation: which one to run; None takes the fastest that is known.

    Returns:
        ``h`` and ``y``, in the shape and dtype of ``x``.

    Raises:
        ValueError: for shapes or dtypes that don't fit each other, an empty axis, a gate without its branch, or an
            epsilon that is not positive.
        UnsupportedKernelError: if ``implementation`` names one that does not exist or can't run here.

    References: Peebles and Xie 2022, https://arxiv.org/abs/2212.09748
    """
    check_axes("x", x, "(batch, tokens, channels)", 3)
    check_dtype("x", x)
    vector = (x.shape[0], x.shape[2])
    check_shape("scale", scale, "(batch, channels)", vector)
    check_shape("shift", shift, "(batch, channels)", vector)
    if (branch is None) != (gate is None):
        raise ValueError(f"branch and gate go together, got {'gate' if branch is None else 'branch'} alone")
    wide = accumulation_dtype(x.dtype)
    if branch is not None and gate is not None:
        check_shape("branch", branch, "(batch, tokens, channels)", x.shape)
        check_shape("gate", gate, "(batch, channels)", vector)
        if branch.dtype != x.dtype:
            raise ValueError(f"branch must be of the dtype of x, {x.dtype}, got {branch.dtype}")
        gate = gate.astype(wide)
    check_positive("epsilon", epsilon)
    vectors = scale.astype(wide), shift.astype(wide)
    return dispatch("adaln", implementation, IMPLEMENTATIONS, FASTEST, x, branch, gate, *vectors, float(epsilon))
