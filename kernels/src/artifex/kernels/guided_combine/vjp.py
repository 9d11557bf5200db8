"""The custom gradient of guided_combine that the fused implementations share: the one of ``xla``."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from artifex.kernels.guided_combine.threshold import DynamicThreshold
from artifex.kernels.guided_combine.xla import xla
from artifex.kernels.partitioning import batch_parallel

Rows = Float[Array, "b n"]
BySample = Float[Array, " b"]
Residuals = tuple[Rows, Rows, BySample, BySample | None]
Kernel = Callable[[Rows, Rows, BySample, BySample | None], tuple[Rows]]


def with_vjp(
    kernel: Kernel,
    conditional: Rows,
    unconditional: Rows,
    scale: BySample,
    rescale: BySample | None,
    threshold: DynamicThreshold | None,
) -> Rows:
    """The combination by ``kernel``, with the gradient of ``xla``."""

    @jax.custom_vjp
    def combine(c: Rows, u: Rows, scale: BySample, rescale: BySample | None) -> Rows:
        return batch_parallel(kernel)(c, u, scale, rescale)[0]

    def fwd(c: Rows, u: Rows, scale: BySample, rescale: BySample | None) -> tuple[Rows, Residuals]:
        return combine(c, u, scale, rescale), (c, u, scale, rescale)

    def bwd(residuals: Residuals, cotangent: Rows) -> Residuals:
        def plain(c: Rows, u: Rows, scale: BySample, rescale: BySample | None) -> Rows:
            out: Array = xla(c, u, scale, rescale, threshold)
            return out

        c, u, w, phi = jax.vjp(plain, *residuals)[1](cotangent)
        return c, u, w, phi

    combine.defvjp(fwd, bwd)
    out: Array = combine(conditional, unconditional, scale, rescale)
    return out
