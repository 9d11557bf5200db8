"""What the Pallas and the Triton implementation share: when they can't run, and the gradient, which XLA computes."""

from collections.abc import Callable
from typing import Final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.guided_combine.threshold import DynamicThreshold
from artifex.kernels.guided_combine.xla import xla
from artifex.kernels.partitioning import batch_parallel
from artifex.kernels.platform import why_no_pallas, why_no_triton

Rows = Float[Array, "b n"]
Each = Float[Array, " b"]
Kernel = Callable[[Rows, Rows, Each, Each | None], tuple[Rows]]

MOST: Final = 2**16
"""The Pallas kernel holds a whole sample; more numbers would not fit."""


def why_not_pallas(
    conditional: Array, unconditional: Array, scale: Array, rescale: Array | None, threshold: DynamicThreshold | None
) -> str | None:
    """Why the Pallas implementation takes no such arguments here; None where it does."""
    if conditional.shape[1] > MOST:
        return f"it holds a whole sample, {MOST} numbers at most, and got {conditional.shape[1]}"
    return why_no_pallas() or _why_not(scale)


def why_not_triton(
    conditional: Array, unconditional: Array, scale: Array, rescale: Array | None, threshold: DynamicThreshold | None
) -> str | None:
    """Why the Triton implementation takes no such arguments here; None where it does."""
    return why_no_triton() or _why_not(scale)


def _why_not(scale: Array) -> str | None:
    return "it computes in float32, and got float64" if scale.dtype == jnp.float64 else None


def by_kernel(
    kernel: Kernel,
    conditional: Rows,
    unconditional: Rows,
    scale: Each,
    rescale: Each | None,
    threshold: DynamicThreshold | None,
) -> Rows:
    """The combination by ``kernel``; its gradient is that of the XLA implementation."""

    @jax.custom_vjp
    def combine(c: Rows, u: Rows, scale: Each, rescale: Each | None) -> Rows:
        return batch_parallel(kernel)(c, u, scale, rescale)[0]

    def forward(
        c: Rows, u: Rows, scale: Each, rescale: Each | None
    ) -> tuple[Rows, tuple[Rows, Rows, Each, Each | None]]:
        return combine(c, u, scale, rescale), (c, u, scale, rescale)

    def backward(saved: tuple[Rows, Rows, Each, Each | None], cotangent: Rows) -> tuple[Rows, Rows, Each, Each | None]:
        def plain(c: Rows, u: Rows, scale: Each, rescale: Each | None) -> Rows:
            out: Array = xla(c, u, scale, rescale, threshold)
            return out

        c, u, w, phi = jax.vjp(plain, *saved)[1](cotangent)
        return c, u, w, phi

    combine.defvjp(forward, backward)
    out: Array = combine(conditional, unconditional, scale, rescale)
    return out
