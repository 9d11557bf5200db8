"""Reasons why an implementation of group_norm_silu can't run; None where it can."""

from jaxtyping import Array

from artifex.kernels.checks import float64_reason
from artifex.kernels.platform import no_pallas_reason, no_triton_reason


def pallas(x: Array, *_: object) -> str | None:
    """Of ``pallas``."""
    return no_pallas_reason() or float64_reason(x)


def triton(x: Array, *_: object) -> str | None:
    """Of ``triton``."""
    return no_triton_reason() or float64_reason(x)
