"""Convolution in forms whose transposes XLA's CPU backend runs fast.

The transpose of a convolution is a convolution of the same three arrays with the names of their axes exchanged: with
respect to the image, I and O of the kernel; with respect to the kernel, N and C of the image, N of the output and I of
the kernel, C of the output and O of the kernel. The forms here are written so that their transposes come out in the
layout ``PLAIN``, which XLA leaves as it is even in the body of a loop.
"""

import math
from typing import Final

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Image = Float[Array, "b h w i"]
Kernel = Float[Array, "u v i o"]
Output = Float[Array, "b y x o"]
Layout = tuple[str, str, str]
Padding = tuple[tuple[int, int], tuple[int, int]]

PLAIN: Final[Layout] = ("NHWC", "HWIO", "NHWC")
BY_IMAGE: Final[Layout] = ("NHWC", "HWOI", "NHWC")
BY_KERNEL: Final[Layout] = ("CHWN", "IHWO", "HWNC")

CHUNK: Final = 1 << 18
"""Elements of a cotangent that the kernel's gradient takes at once, 1 MiB: it must stay in a core's cache."""
MAX_CHUNKS: Final = 8
"""Each chunk is compiled by itself."""


def convolve(x: Array, kernel: Array, padding: Padding, *, stride: int = 1, layout: Layout = PLAIN) -> Array:
    """``jax.lax``'s convolution with ``jax.lax``'s transposes."""
    return lax.conv_general_dilated(x, kernel, (stride,) * 2, padding, dimension_numbers=layout)


def by_image(x: Image, kernel: Kernel, padding: Padding, *, stride: int = 1) -> Output:
    """Convolution whose transpose with respect to ``x`` is fast."""
    return convolve(x, kernel.transpose(0, 1, 3, 2), padding, stride=stride, layout=BY_IMAGE)


def by_flipped_image(x: Image, kernel: Kernel, padding: Padding) -> Output:
    """`by_image` that flips the images instead of the kernel.

    The transpose reads the kernel flipped and with its channels exchanged. XLA's CPU backend takes three times as long
    for both at once as for the exchange alone: more than for flipping two images, where these are the smaller.
    """
    axes = tuple(axis for axis, size in zip((1, 2), kernel.shape, strict=False) if size > 1)
    reverse = padding[0][::-1], padding[1][::-1]
    w = lax.rev(kernel.transpose(0, 1, 3, 2), [axis - 1 for axis in axes])
    return lax.rev(convolve(lax.rev(x, axes), w, reverse, layout=BY_IMAGE), axes)


def by_kernel(x: Image, kernel: Kernel, stride: int, padding: tuple[int, int], shape: tuple[int, ...]) -> Output:
    """Convolution to ``shape``, a few rows at a time, whose transpose with respect to ``kernel`` is fast.

    That transpose is then a sum over chunks of the cotangent, each small enough for a core's cache.
    """
    rows, size, (before, _) = shape[1], kernel.shape[0], padding
    height = rows // math.gcd(rows, min(MAX_CHUNKS, -(-math.prod(shape) // CHUNK)))
    w = kernel.transpose(2, 0, 1, 3)
    chunks = []
    for row in range(0, rows, height):
        start = row * stride - before
        end = start + (height - 1) * stride + size
        chunk = x[:, max(start, 0) : end].transpose(3, 1, 2, 0)
        edges = max(-start, 0), max(end - x.shape[1], 0)
        chunks.append(convolve(chunk, w, (edges, padding), stride=stride, layout=BY_KERNEL).transpose(2, 0, 1, 3))
    return jnp.concatenate(chunks, axis=1)
