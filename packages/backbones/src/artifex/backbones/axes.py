"""Convolution with named axes, and its transposes by arrays whose axes XLA's CPU backend is quick at.

The transpose of a convolution is one of the same three arrays, with names of their axes exchanged: for that by the
image I and O, and for that by the kernel N and C of x, N of y and I of W, C of y and O of W. `BY_IMAGE` and `BY_KERNEL`
are such that the transposes by the image and by the kernel come out `PLAIN`.
"""

from typing import Final

from jax import lax
from jaxtyping import Array, Float

Image = Float[Array, "b h w i"]
Kernel = Float[Array, "u v i o"]
Output = Float[Array, "b y x o"]
Axes = tuple[str, str, str]
Padding = tuple[tuple[int, int], tuple[int, int]]

PLAIN: Final[Axes] = ("NHWC", "HWIO", "NHWC")
BY_IMAGE: Final[Axes] = ("NHWC", "HWOI", "NHWC")
BY_KERNEL: Final[Axes] = ("CHWN", "IHWO", "HWNC")


def convolve(x: Array, kernel: Array, padding: Padding, *, stride: int = 1, axes: Axes = PLAIN) -> Array:
    """`jax.lax`'s convolution, whose transposes it leaves to `jax.lax` as well."""
    return lax.conv_general_dilated(x, kernel, (stride,) * 2, padding, dimension_numbers=axes)


def by_image(x: Image, kernel: Kernel, padding: Padding, *, stride: int = 1) -> Output:
    """The convolution, whose transpose by ``x`` is quick."""
    return convolve(x, kernel.transpose(0, 1, 3, 2), padding, stride=stride, axes=BY_IMAGE)


def by_image_mirrored(x: Image, kernel: Kernel, padding: Padding) -> Output:
    """The same, the images mirrored in place of the kernel.

    The transpose reads the kernel's places in reverse and its channels exchanged; XLA's CPU backend takes thrice as
    long for both at once as for the exchange alone, more than for two images mirrored, where they are the smaller.
    """
    axes = tuple(axis for axis, size in zip((1, 2), kernel.shape, strict=False) if size > 1)
    reverse = padding[0][::-1], padding[1][::-1]
    w = lax.rev(kernel.transpose(0, 1, 3, 2), [axis - 1 for axis in axes])
    return lax.rev(convolve(lax.rev(x, axes), w, reverse, axes=BY_IMAGE), axes)
