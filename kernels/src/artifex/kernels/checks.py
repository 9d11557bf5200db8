"""What every kernel asks of the arrays it is given, before anything is traced."""

from typing import Final

from jaxtyping import Array

DTYPES: Final = ("float16", "bfloat16", "float32", "float64")


def check_dtype(name: str, x: Array) -> None:
    """Raises a ValueError unless ``x`` is of a dtype that kernels compute in."""
    if x.dtype not in DTYPES:
        raise ValueError(f"{name} must be of dtype {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, got {x.dtype}")
