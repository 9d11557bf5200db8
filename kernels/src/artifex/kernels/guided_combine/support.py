"""Reasons why an implementation of guided_combine can't run; None where it can."""

from typing import Final

from jaxtyping import Array

from artifex.kernels.checks import float64_reason
from artifex.kernels.platform import no_pallas_reason, no_triton_reason

MAX_SIZE: Final = 2**16
"""Elements of a sample, all of which a program of the Pallas kernel holds at once."""


def pallas(conditional: Array, unconditional: Array, scale: Array, *_: object) -> str | None:
    """Of ``pallas``."""
    if conditional.shape[1] > MAX_SIZE:
        return f"it holds a whole sample, {MAX_SIZE} numbers at most, and got {conditional.shape[1]}"
    return no_pallas_reason() or float64_reason(scale)


def triton(conditional: Array, unconditional: Array, scale: Array, *_: object) -> str | None:
    """Of ``triton``."""
    return no_triton_reason() or float64_reason(scale)
