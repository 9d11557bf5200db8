"""The contract of square convolutions."""

from collections.abc import Mapping
from typing import Final

from jaxtyping import Array, Float

from artifex.kernels.checks import check_axes, check_dtype
from artifex.kernels.convolution import reference, support, xla
from artifex.kernels.convolution.config import conv_fastest, upsample_conv_fastest
from artifex.kernels.convolution.polyphase import polyphase
from artifex.kernels.convolution.resize import upsample_nearest
from artifex.kernels.convolution.winograd import winograd
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.ranges import check_whole

Padding = tuple[int, int]


def _winograd(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    return winograd(x, kernel)


def _upsampled_winograd(x: Array, kernel: Array, padding: Padding) -> Array:
    return winograd(upsample_nearest(x), kernel)


def _polyphase(x: Array, kernel: Array, padding: Padding) -> Array:
    return polyphase(x, kernel)


CONV_IMPLEMENTATIONS: Final[Mapping[ImplementationName, Implementation[[Array, Array, int, Padding], Array]]] = {
    "reference": Implementation(reference.conv),
    "xla": Implementation(xla.conv),
    "winograd": Implementation(_winograd, support.winograd),
}
UPSAMPLE_CONV_IMPLEMENTATIONS: Final[Mapping[ImplementationName, Implementation[[Array, Array, Padding], Array]]] = {
    "reference": Implementation(reference.upsample_conv),
    "xla": Implementation(xla.upsample_conv),
    "winograd": Implementation(_upsampled_winograd, support.upsampled_winograd),
    "polyphase": Implementation(_polyphase, support.polyphase),
}


def conv(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "k k i o"],
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    implementation: ImplementationName | None = None,
) -> Float[Array, "b y x o"]:
    r"""Square convolution, zero-padded before and after on both axes.

    $$y_{ij} = \sum_{uv} x_{si+u-p,\,sj+v-p} W_{uv}$$

    Args:
        x: images, ``(batch, height, width, in)``, of dtype float16, bfloat16, float32 or float64.
        kernel: $W$, ``(size, size, in, out)``, of the dtype of ``x``.
        stride: $s$, the same on both axes.
        padding: zeros (before, after), the same on both axes; $p$ is the first.
        implementation: which one to run; None takes the fastest that is known. All are differentiable any number of
            times, in either mode. ``winograd`` sums half the products of a 3x3 kernel and rounds about twice as much.

    Returns:
        ``(batch, rows, columns, out)``, in the dtype of ``x``.

    Raises:
        ValueError: for shapes or dtypes that don't fit each other, an empty axis, a stride below 1, a negative padding,
            or a kernel larger than the padded image.
        UnsupportedKernelError: if ``implementation`` names one that does not exist or can't run here.

    References: Lavin and Gray 2015 (``winograd``), https://arxiv.org/abs/1509.09308
    """
    check_whole("stride", stride, 1)
    _check(x, kernel, padding, 1)
    return dispatch("conv", implementation, CONV_IMPLEMENTATIONS, conv_fastest(x, kernel), x, kernel, stride, padding)


def upsample_conv(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "k k i o"],
    *,
    padding: tuple[int, int] = (0, 0),
    implementation: ImplementationName | None = None,
) -> Float[Array, "b y x o"]:
    """`conv` of ``x`` with every pixel repeated 2x2 times.

    Args:
        x: images, ``(batch, height, width, in)``, of dtype float16, bfloat16, float32 or float64.
        kernel: ``(size, size, in, out)``, of the dtype of ``x``.
        padding: zeros (before, after) the upsampled image, the same on both axes.
        implementation: which one to run; None takes the fastest that is known. ``polyphase`` sums a quarter of the
            products of a 3x3 kernel, ``winograd`` half of them.

    Returns:
        ``(batch, rows, columns, out)``, in the dtype of ``x``.

    Raises:
        ValueError: as `conv`.
        UnsupportedKernelError: if ``implementation`` names one that does not exist or can't run here.
    """
    _check(x, kernel, padding, 2)
    fastest = upsample_conv_fastest(x, kernel)
    return dispatch("upsample_conv", implementation, UPSAMPLE_CONV_IMPLEMENTATIONS, fastest, x, kernel, padding)


def _check(x: Array, kernel: Array, padding: Padding, scale: int) -> None:
    """Raise a ValueError unless an image ``scale`` times the size of ``x`` can be convolved."""
    check_axes("x", x, "(batch, height, width, in)", 4)
    check_axes("kernel", kernel, "(size, size, in, out)", 4)
    check_dtype("x", x)
    if kernel.dtype != x.dtype:
        raise ValueError(f"kernel must be of the dtype of x, {x.dtype}, got {kernel.dtype}")
    size, other, channels, _ = kernel.shape
    if size != other or channels != x.shape[3]:
        raise ValueError(f"kernel must be (size, size, {x.shape[3]}, out), got shape {kernel.shape}")
    for zeros in padding:
        check_whole("padding", zeros, 0)
    if size > scale * min(x.shape[1:3]) + sum(padding):
        raise ValueError(
            f"kernel must be at most as large as the padded image, got {size}x{size} for an image of "
            f"{scale * x.shape[1]}x{scale * x.shape[2]} padded by {padding}"
        )
