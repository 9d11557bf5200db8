"""The gated residual and its modulated layer norm by XLA, with sums over tokens that its CPU backend runs fast."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from artifex.kernels.sums import broadcast_rows


@partial(jax.jit, static_argnames="epsilon")
def xla(
    x: Float[Array, "b t c"],
    branch: Float[Array, "b t c"] | None,
    gate: Float[Array, "b c"] | None,
    scale: Float[Array, "b c"],
    shift: Float[Array, "b c"],
    epsilon: float,
) -> tuple[Float[Array, "b t c"], Float[Array, "b t c"]]:
    """The sum ``h`` and its modulated norm; see ``adaln``."""
    wide = scale.dtype
    h = x
    if branch is not None and gate is not None:
        h = (x.astype(wide) + broadcast_rows(gate, x.shape) * branch.astype(wide)).astype(x.dtype)
    normal = _norm(h.astype(wide), epsilon)
    return h, (normal * (1 + broadcast_rows(scale, x.shape)) + broadcast_rows(shift, x.shape)).astype(x.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _norm(h: Array, epsilon: float) -> Array:
    return _normal(h, epsilon)[0]


@_norm.defjvp
def _tangent(epsilon: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    r"""$dy = r\,(dh - \overline{dh} - y\,\overline{y\,dh})$: two sums and one pass, and so is its transpose."""
    (h,), (d_h,) = primals, tangents
    y, r = _normal(h, epsilon)
    return y, r * (d_h - _mean(d_h) - y * _mean(y * d_h))


def _normal(h: Array, epsilon: float) -> tuple[Array, Array]:
    """The layer norm $y$ of the last axis and the reciprocal $r$ of its deviation."""
    centred = h - _mean(h)
    r = lax.rsqrt(_mean(centred * centred) + epsilon)
    return centred * r, r


def _mean(x: Array) -> Array:
    return jnp.mean(x, axis=-1, keepdims=True)
