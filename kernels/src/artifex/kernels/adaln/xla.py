"""The gated residual and its modulated layer norm left to XLA, with sums over tokens that a CPU is quick at."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from artifex.kernels.sums import spread


@partial(jax.jit, static_argnames="epsilon")
def xla(
    x: Float[Array, "b t c"],
    branch: Float[Array, "b t c"] | None,
    gate: Float[Array, "b c"] | None,
    scale: Float[Array, "b c"],
    shift: Float[Array, "b c"],
    epsilon: float,
) -> tuple[Float[Array, "b t c"], Float[Array, "b t c"]]:
    """The sum ``h`` and the modulated norm of it; see ``adaln``."""
    wide = scale.dtype
    h = x
    if branch is not None and gate is not None:
        h = (x.astype(wide) + spread(gate, x.shape) * branch.astype(wide)).astype(x.dtype)
    centred = h.astype(wide) - jnp.mean(h.astype(wide), axis=-1, keepdims=True)
    normal = centred * lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + epsilon)
    return h, (normal * (1 + spread(scale, x.shape)) + spread(shift, x.shape)).astype(x.dtype)
