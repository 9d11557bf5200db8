"""The custom gradient of adaln that the fused implementations share."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from artifex.kernels.partitioning import batch_parallel
from artifex.kernels.platform import match_varying

Kernel = Callable[..., tuple[Array, ...]]


def with_vjp(
    forward: Kernel,
    backward: Kernel,
    x: Float[Array, "b t c"],
    branch: Float[Array, "b t c"] | None,
    gate: Float[Array, "b c"] | None,
    scale: Float[Array, "b c"],
    shift: Float[Array, "b c"],
) -> tuple[Float[Array, "b t c"], Float[Array, "b t c"]]:
    """``adaln`` by two kernels; the residuals are ``h``, which the model keeps anyway, and the branch.

    Args:
        forward: takes ``x, scale, shift`` and returns ``y``; with ``branch`` and ``gate`` too, ``h`` and ``y``.
        backward: takes ``h``, ``scale``, ``branch`` and ``gate`` where given, and the cotangents of ``h`` and ``y``;
            returns those of ``x``, ``scale``, ``shift``, and of ``branch`` and ``gate``, the ones of vectors as
            partial sums ``(b, parts, 1, c)``.
        x: see ``adaln``, as for the rest.
        branch: see ``adaln``.
        gate: see ``adaln``.
        scale: see ``adaln``.
        shift: see ``adaln``.
    """
    forward, backward = batch_parallel(forward), batch_parallel(backward)

    @jax.custom_vjp
    def run(x: Array, scale: Array, shift: Array, *gated: Array) -> tuple[Array, Array]:
        out = forward(x, scale, shift, *gated)
        return (out[0], out[1]) if gated else (x, out[0])

    def fwd(x: Array, scale: Array, shift: Array, *gated: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        h, y = run(x, scale, shift, *gated)
        return (h, y), (h, scale, *gated)

    def bwd(residuals: tuple[Array, ...], cotangents: tuple[Array, Array]) -> tuple[Array, ...]:
        d_x, d_scale, d_shift, *gated = backward(*residuals, *cotangents)
        d_gated = (gated[0], _total(gated[1])) if gated else ()
        return d_x, _total(d_scale), _total(d_shift), *d_gated

    run.defvjp(fwd, bwd)
    gated = () if branch is None or gate is None else (branch, gate)
    h, y = run(*match_varying((x, scale, shift, *gated)))
    return h, y


def _total(parts: Float[Array, "b n 1 c"]) -> Float[Array, "b c"]:
    """The sum of all parts."""
    return parts.sum((1, 2))
