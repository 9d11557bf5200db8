"""The norm of a head and its rotation by XLA, with queries and keys as the only residuals."""

from functools import partial

import jax
from jaxtyping import Array, Float

from artifex.kernels.qk_norm_rope.reference import Norm, reference


@partial(jax.jit, static_argnames=("norm", "epsilon"))
def xla(
    x: Float[Array, "b t h d"],
    gain: Float[Array, " d"],
    cos: Float[Array, "#b t a n"],
    sin: Float[Array, "#b t a n"],
    norm: Norm,
    epsilon: float,
) -> Float[Array, "b t h d"]:
    """The reference, recomputed in the backward pass; see ``qk_norm_rope``."""
    recomputed = jax.checkpoint(partial(reference, norm=norm, epsilon=epsilon), prevent_cse=False)
    y: Array = recomputed(x, gain, cos, sin)
    return y
