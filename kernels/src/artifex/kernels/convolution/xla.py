"""XLA's convolution, with gradients that its CPU backend runs fast.

That backend has a fast convolution for the layout ``NHWC, HWIO, NHWC`` alone. The derivative rules of ``jax.lax`` write
both gradients in other layouts, which XLA mends in a program's entry but not in the body of a loop.
"""

import jax
import jax.numpy as jnp

from artifex.kernels.convolution.resize import upsample_nearest
from artifex.kernels.convolution.vjp import Image, Kernel, Output, by_flipped_image, by_image, by_kernel, convolve
from artifex.kernels.platform import platform


def conv(x: Image, kernel: Kernel, stride: int, padding: tuple[int, int]) -> Output:
    """See ``artifex.kernels.conv``."""
    if platform() != "cpu":
        return _plain(x, kernel, stride, padding)
    # Zeros that a position of the kernel never leaves would be negative padding in the gradient, for which XLA's CPU
    # backend reads outside of the image: https://github.com/openxla/xla/issues/48713
    inner = min(padding[0], kernel.shape[0] - 1), min(padding[1], kernel.shape[0] - 1)
    outer = padding[0] - inner[0], padding[1] - inner[1]
    if any(outer):
        x = jnp.pad(x, ((0, 0), outer, outer, (0, 0)))
    return _cpu(x, kernel, stride, inner)


def upsample_conv(x: Image, kernel: Kernel, padding: tuple[int, int]) -> Output:
    """See ``artifex.kernels.upsample_conv``."""
    return conv(upsample_nearest(x), kernel, 1, padding)


def _plain(x: Image, kernel: Kernel, stride: int, padding: tuple[int, int]) -> Output:
    return convolve(x, kernel, (padding, padding), stride=stride)


_cpu = jax.custom_jvp(_plain, nondiff_argnums=(2, 3))


@_cpu.defjvp
def _jvp(
    stride: int, padding: tuple[int, int], primals: tuple[Image, Kernel], tangents: tuple[Image, Kernel]
) -> tuple[Output, Output]:
    """Linear in the tangents; in reverse mode only its transposes run."""
    (x, kernel), (d_x, d_kernel) = primals, tangents
    y = _cpu(x, kernel, stride, padding)
    if stride == 1 and kernel.size > x.size + y.size:
        along = by_flipped_image(d_x, kernel, (padding, padding))
    else:
        along = by_image(d_x, kernel, (padding, padding), stride=stride)
    return y, along + by_kernel(x, d_kernel, stride, padding, y.shape)
