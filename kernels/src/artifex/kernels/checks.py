"""Checks of the arrays that every kernel takes."""

from typing import Final

from jaxtyping import Array

DTYPES: Final = ("float16", "bfloat16", "float32", "float64")


def check_dtype(name: str, x: Array) -> None:
    """Raise a ValueError unless ``x`` is of a dtype that kernels compute in."""
    if x.dtype not in DTYPES:
        raise ValueError(f"{name} must be of dtype {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, got {x.dtype}")


def check_axes(name: str, x: Array, axes: str, at_least: int, at_most: int | None = None) -> None:
    """Raise a ValueError unless ``x`` has from ``at_least`` to ``at_most`` axes (as many, where None), none empty."""
    if not at_least <= x.ndim <= (at_least if at_most is None else at_most):
        raise ValueError(f"{name} must be {axes}, got shape {x.shape}")
    if 0 in x.shape:
        raise ValueError(f"{name} must have no empty axis, got shape {x.shape}")


def check_shape(name: str, x: Array, axes: str, shape: tuple[int, ...]) -> None:
    """Raise a ValueError unless ``x`` has the shape ``shape``, described by ``axes``, and a dtype for kernels."""
    if x.shape != shape:
        raise ValueError(f"{name} must be {axes} = {shape}, got shape {x.shape}")
    check_dtype(name, x)


def float64_reason(x: Array) -> str | None:
    """The reason why a kernel that computes in float32 can't take ``x``; None where it can."""
    return "it computes in float32, and got float64" if x.dtype == "float64" else None
