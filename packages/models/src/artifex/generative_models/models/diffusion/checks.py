"""Validation of arguments where values enter; traced arrays are checked by shape and dtype alone."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def concrete(array: Array) -> np.ndarray[Any, np.dtype[Any]] | None:
    """``array`` on the host; None for a tracer."""
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def check_options(options: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise a TypeError for an option that is not one of ``known``."""
    known = sorted(known)
    for name in options:
        if name not in known:
            raise TypeError(f"unknown argument {name!r}; expected one of {known}")


def check_finite(**arrays: Array) -> None:
    """Raise a ValueError for a concrete array that holds NaN or infinity."""
    for name, array in arrays.items():
        values = concrete(array)
        if values is not None and not np.all(np.isfinite(values)):
            raise ValueError(f"{name} must be finite, got NaN or infinity in it")


def check_range(name: str, array: Array, low: float, high: float) -> None:
    """Raise a ValueError for a concrete array with a value outside [low, high], or NaN."""
    values = concrete(array)
    if values is not None and values.size and not (values.min() >= low and values.max() <= high):
        raise ValueError(f"{name} must be in [{low:g}, {high:g}], got values from {values.min()} to {values.max()}")


def check_condition(condition: Array, batch: int, num_classes: int | None) -> None:
    """Raise a ValueError unless ``condition`` has one entry per sample: labels where ``num_classes`` is given."""
    if not isinstance(condition, jax.Array | np.ndarray):
        raise ValueError(f"conditioning must be an array, got {type(condition).__name__}")
    if condition.shape[:1] != (batch,):
        raise ValueError(f"conditioning must hold one condition for each of {batch} samples, got {condition.shape}")
    if num_classes is None:
        check_finite(conditioning=condition)
        return
    if condition.shape != (batch,) or not jnp.issubdtype(condition.dtype, jnp.integer):
        raise ValueError(
            f"labels must be integers of shape ({batch},), got {condition.dtype} of shape {condition.shape}"
        )
    check_range("labels", condition, 0, num_classes - 1)


def check_null(null: Array, num_classes: int) -> None:
    """Raise a ValueError unless ``null`` holds labels in [0, num_classes]; ``num_classes`` is the null label."""
    if not jnp.issubdtype(null.dtype, jnp.integer):
        raise ValueError(f"unconditional_conditioning must be integers, got {null.dtype}")
    check_range("unconditional_conditioning", null, 0, num_classes)
