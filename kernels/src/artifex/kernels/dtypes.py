"""Dtypes of results, explicit so that they hold under strict ``jax_numpy_dtype_promotion``."""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


def accumulation_dtype(*dtypes: DTypeLike) -> np.dtype[np.floating]:
    """float64 if one of ``dtypes`` is, else float32.

    That is JAX's standard promotion of floating and integer dtypes with float32.
    """
    wide = any(jnp.dtype(dtype) == jnp.float64 for dtype in dtypes)
    return np.dtype(np.float64 if wide else np.float32)


def common_dtype(*dtypes: DTypeLike) -> np.dtype[np.generic]:
    """The dtype of all ``dtypes`` if they are equal, else their ``accumulation_dtype``."""
    distinct = {jnp.dtype(dtype) for dtype in dtypes}
    return distinct.pop() if len(distinct) == 1 else accumulation_dtype(*distinct)
