"""Bounds on the difference between a kernel and float64."""

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt


def spacing(dtype: npt.DTypeLike) -> float:
    """Between 1 and the next number of ``dtype``, bfloat16 too."""
    return float(jnp.finfo(np.dtype(dtype)).eps)  # type: ignore[no-untyped-call]


def wide(dtype: npt.DTypeLike) -> np.dtype[np.floating]:
    """The dtype of a kernel's sums: ``dtype``, but float32 at least."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float64 else np.float32)


def rounding(dtype: npt.DTypeLike, length: float) -> float:
    """The rounding error of a sum in the wide dtype and of its conversion to ``dtype``.

    It is relative to the sum of absolute values.

    Args:
        dtype: of the result.
        length: additions behind one another.
    """
    return 2 * spacing(wide(dtype)) * length + 4 * spacing(dtype)
