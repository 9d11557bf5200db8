"""The custom gradient of attention that the fused implementations share."""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from artifex.kernels.attention.xla import xla
from artifex.kernels.partitioning import batch_parallel
from artifex.kernels.platform import match_varying

Segments = tuple[Int[Array, "b t"], Int[Array, "b s"]]
"""The segments of the tokens and of the keys."""

BY_TOKEN: Final = "bth"
BY_HEAD: Final = "bh"
"""The axes of an array, as ``batch_parallel`` takes them."""


class Inputs(NamedTuple):
    """The arrays of an attention."""

    q: Float[Array, "b t h d"]
    k: Float[Array, "b s h d"]
    v: Float[Array, "b s h e"]
    bias: Float[Array, "#b #h #t #s"] | None
    mask: Bool[Array, "#b #h #t #s"] | None
    segments: Segments | None


@runtime_checkable
class Backward(Protocol):
    """A function that returns the cotangents of q, k and v, in their shapes."""

    def __call__(
        self,
        x: Inputs,
        d_out: Float[Array, "b t h e"],
        lse: Float[Array, "b h t"],
        delta: Float[Array, "b h t"],
    ) -> tuple[Array, ...]:
        r"""``lse`` is plus infinity, so that weights are zero, for tokens that see no key.

        ``delta`` is $do_t \cdot o_t - dL_t$: the gradient of a score is $p_{ts} (do_t \cdot v_s - \delta_t)$.
        """
        ...


def with_vjp(
    forward: Callable[[Inputs], tuple[Array, ...]], backward: Backward, is_causal: bool, scale: float
) -> Callable[[Inputs], tuple[Array, Array]]:
    """``forward``, differentiable once, in reverse mode.

    The gradient with respect to the bias, rarely needed, is ``xla``'s and takes the bias's memory.
    """

    @jax.custom_vjp
    def attend(x: Inputs) -> tuple[Array, Array]:
        out, lse = batch_parallel(forward, _axes(x), (BY_TOKEN, BY_HEAD))(x)
        return out, lse

    def fwd(x: Inputs) -> tuple[tuple[Array, Array], tuple[Inputs, Array, Array]]:
        out, lse = attend(x)
        return (out, lse), (x, out, lse)

    def bwd(residuals: tuple[Inputs, Array, Array], cotangents: tuple[Array, Array]) -> tuple[Inputs]:
        x, out, lse = residuals
        d_out, d_lse = cotangents
        delta = jnp.einsum("bthe,bthe->bht", out, d_out, preferred_element_type=lse.dtype) - d_lse
        pull = batch_parallel(backward, (*_axes(x), BY_TOKEN, BY_HEAD, BY_HEAD), (BY_TOKEN,) * 3)
        d_q, d_k, d_v = pull(x, d_out, jnp.where(jnp.isneginf(lse), jnp.inf, lse), delta)
        d_bias = None
        if x.bias is not None:

            def by_bias(bias: Array) -> tuple[Array, Array]:
                out, lse = xla(x.q, x.k, x.v, bias, x.mask, x.segments, is_causal, scale)
                return out, lse

            (d_bias,) = jax.vjp(by_bias, x.bias)[1](cotangents)
        return (Inputs(d_q, d_k, d_v, d_bias, None, None),)

    attend.defvjp(fwd, bwd)

    def run(x: Inputs) -> tuple[Array, Array]:
        out, lse = attend(match_varying(x))
        return out, lse

    return run


def _axes(x: Inputs) -> tuple[str, ...]:
    """The axes of each array that is not None."""
    by_scores = (BY_HEAD for y in (x.bias, x.mask) if y is not None)
    return (BY_TOKEN,) * 3 + (*by_scores, *("b" for _ in x.segments or ()))
