"""The fastest implementations of a convolution, by platform, shape and dtype, as measured; see docs/kernels.md."""

import math
from typing import Final

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels.convolution.winograd import ROWS
from artifex.kernels.dispatch import ImplementationName
from artifex.kernels.platform import platform

Image = Float[Array, "b h w i"]
Kernel = Float[Array, "u v i o"]
Shape = tuple[int, ...]

CHANNELS: Final = 64
"""Fewest channels, on both sides for ``polyphase``, on one for ``winograd``, which needs half as many on the other."""
PRODUCTS: Final = 1 << 21
"""Least product of pixels and channels of both sides for ``winograd``: below, compiling costs more than it gains."""
ELEMENTS: Final = 1 << 24
"""Most elements of an image: ``winograd`` holds three images in place of one, ``polyphase`` nine quarters."""


def conv_fastest(x: Image, kernel: Kernel) -> tuple[ImplementationName, ...]:
    """The implementations of ``conv``, fastest first."""
    return _of_sums(x.shape, x.dtype, kernel.shape)


def upsample_conv_fastest(x: Image, kernel: Kernel) -> tuple[ImplementationName, ...]:
    """The implementations of ``upsample_conv``, fastest first."""
    b, h, w, c = x.shape
    rest = _of_sums((b, 2 * h, 2 * w, c), x.dtype, kernel.shape)
    return ("polyphase", *rest) if platform() == "cpu" and _polyphase_pays(x.shape, x.dtype, kernel.shape) else rest


def _of_sums(shape: Shape, dtype: jnp.dtype, kernel: Shape) -> tuple[ImplementationName, ...]:
    return ("winograd", "xla") if platform() == "cpu" and _winograd_pays(shape, dtype, kernel) else ("xla",)


def _winograd_pays(shape: Shape, dtype: jnp.dtype, kernel: Shape) -> bool:
    """Not for few pixels beside the channels, since the kernels are transformed at each call."""
    pixels, (*_, i, o) = math.prod(shape[:3]), kernel
    return (
        dtype == jnp.float32
        and shape[1] % ROWS == 0
        and min(i, o) >= CHANNELS // 2
        and max(i, o) >= CHANNELS
        and pixels >= 2 * max(i, o)
        and pixels * i * o >= PRODUCTS
        and pixels * max(i, o) <= ELEMENTS
    )


def _polyphase_pays(shape: Shape, dtype: jnp.dtype, kernel: Shape) -> bool:
    pixels, (*_, i, o) = math.prod(shape[:3]), kernel
    return dtype == jnp.float32 and min(i, o, pixels) >= CHANNELS and 4 * pixels * max(i, o) <= ELEMENTS
