"""Keys drawn from ``nnx.Rngs``, and labels dropped in training."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Key

from artifex.generative_models.models.diffusion.parameters import Parameters


def next_key(rngs: nnx.Rngs, stream: str) -> Key[Array, ""]:
    """Draw a key from ``stream``, else from ``default``, else from ``params``.

    Raises:
        ValueError: if ``rngs`` has none of them.
    """
    for name in (stream, "default", "params"):
        if name in rngs:
            key: Key[Array, ""] = rngs[name]()
            return key
    raise ValueError(f"rngs must have a stream {stream!r}, 'default' or 'params', got {list(rngs)}")


def drop_labels(condition: Array, parameters: Parameters, rngs: nnx.Rngs) -> Array:
    """Replace each label by the null label ``num_classes`` with probability ``class_dropout_prob``.

    Conditions of a model without ``num_classes`` are returned unchanged. A probability of 0 draws nothing.
    """
    if parameters.num_classes is None or parameters.class_dropout_prob == 0:
        return condition
    dropped = jax.random.bernoulli(next_key(rngs, "dropout"), parameters.class_dropout_prob, condition.shape)
    return jnp.where(dropped, parameters.num_classes, condition.astype(jnp.int32))
