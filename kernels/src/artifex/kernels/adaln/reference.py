"""The gated residual and its modulated layer norm as the formula reads."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def reference(
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
        h = (x.astype(wide) + gate[:, None] * branch.astype(wide)).astype(x.dtype)
    centred = h.astype(wide) - jnp.mean(h.astype(wide), axis=-1, keepdims=True)
    normal = centred * lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + epsilon)
    return h, (normal * (1 + scale[:, None]) + shift[:, None]).astype(x.dtype)
