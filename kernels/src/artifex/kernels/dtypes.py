"""Dtypes of results, for any ``jax_numpy_dtype_promotion``: where it is strict, JAX promotes no arrays by itself."""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


def accumulation_dtype(*dtypes: DTypeLike) -> np.dtype[np.floating]:
    """float64 if one of ``dtypes`` is, else float32.

    It is what JAX's standard promotion makes of floating and whole numbers beside float32.
    """
    wide = any(jnp.dtype(dtype) == jnp.float64 for dtype in dtypes)
    return np.dtype(np.float64 if wide else np.float32)


def common_dtype(*dtypes: DTypeLike) -> np.dtype[np.generic]:
    """The one dtype in ``dtypes``, else their ``accumulation_dtype``: standard promotion of floating dtypes."""
    distinct = {jnp.dtype(dtype) for dtype in dtypes}
    return distinct.pop() if len(distinct) == 1 else accumulation_dtype(*distinct)
