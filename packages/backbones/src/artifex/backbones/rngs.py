"""Random keys for networks that are made under a trace."""

import numpy as np
from flax import nnx
from jaxtyping import Array, Key, UInt32


def init_rngs(key: int | Key[Array, ""]) -> nnx.Rngs:
    """``nnx.Rngs(key)``, the same draws, counted on the host: for networks that are made in ``jit`` or ``eval_shape``.

    ``nnx.Rngs`` counts in an array. Where that is traced, Flax asks at every draw for its sharding, and JAX answers
    that there is none with the history of the array, which it looks for among all operations up to there: the time
    grows with the square of a network's size. The shapes of Stable Diffusion XL's U-Net took 42 seconds of one core
    (Flax 0.12.8, JAX 0.10.2), and take 2.4 so.

    Args:
        key: A seed or a key.
    """
    rngs = nnx.Rngs(key)
    count = rngs["default"].count
    count.set_raw_value(np.zeros((), np.uint32))
    count.set_metadata(on_get_value=_number)
    return rngs


def _number(_: nnx.Variable[np.ndarray], count: UInt32[np.ndarray, ""]) -> np.uint32:
    """What no later draw changes: the count is written in place."""
    return np.uint32(count)
