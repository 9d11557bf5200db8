"""Reasons why an implementation of a convolution can't run; None where it can."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.convolution.winograd import ROWS

Image = Float[Array, "b h w i"]
Kernel = Float[Array, "u v i o"]


def winograd(x: Image, kernel: Kernel, stride: int, padding: tuple[int, int]) -> str | None:
    """Of ``winograd`` for ``conv``."""
    return _minimal_filtering(x, kernel, stride, padding) or _rows(x.shape[1])


def upsampled_winograd(x: Image, kernel: Kernel, padding: tuple[int, int]) -> str | None:
    """Of ``winograd`` for ``upsample_conv``."""
    return _minimal_filtering(x, kernel, 1, padding) or _rows(2 * x.shape[1])


def polyphase(x: Image, kernel: Kernel, padding: tuple[int, int]) -> str | None:
    """Of ``polyphase`` for ``upsample_conv``."""
    return _minimal_filtering(x, kernel, 1, padding)


def _minimal_filtering(x: Image, kernel: Kernel, stride: int, padding: tuple[int, int]) -> str | None:
    size = kernel.shape[0]
    if (size, stride, padding) != (3, 1, (1, 1)):
        return f"it needs size 3, stride 1 and padding (1, 1), and got {size}, {stride} and {padding}"
    if x.dtype not in (jnp.float32, jnp.float64):
        return f"its sums and differences of inputs need float32 or float64, and x is {x.dtype}"
    return None


def _rows(height: int) -> str | None:
    return f"it computes {ROWS} rows at once, and there are {height}" if height % ROWS else None
