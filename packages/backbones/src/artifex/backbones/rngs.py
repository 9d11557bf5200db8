"""Random keys for networks that are created under a trace."""

import numpy as np
from flax import nnx
from jaxtyping import Array, Key, UInt32


def init_rngs(key: int | Key[Array, ""]) -> nnx.Rngs:
    """Make an ``nnx.Rngs`` for networks created in ``jit`` or ``eval_shape``; it gives the keys of ``nnx.Rngs(key)``.

    ``nnx.Rngs`` counts its draws in a traced array, on which every draw takes time proportional to the number of
    operations so far, so that creating a network takes time quadratic in its size. This one counts on the host.

    Args:
        key: a seed or a key.
    """
    rngs = nnx.Rngs(key)
    count = rngs["default"].count
    count.set_raw_value(np.zeros((), np.uint32))
    count.set_metadata(on_get_value=_number)
    return rngs


def _number(_: nnx.Variable[np.ndarray], count: UInt32[np.ndarray, ""]) -> np.uint32:
    """Copy the count, which is later changed in place."""
    return np.uint32(count)
