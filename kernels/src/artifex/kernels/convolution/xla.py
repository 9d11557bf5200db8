"""XLA's convolution, with gradients that its CPU backend runs fast.

That backend has a fast convolution for the layout ``NHWC, HWIO, NHWC`` alone. The derivative rules of ``jax.lax`` write
both gradients in other layouts, which XLA mends in a program's entry but not in the body of a loop.
"""

import jax

from artifex.kernels.convolution.resize import upsample_nearest
from artifex.kernels.convolution.vjp import Image, Kernel, Output, by_flipped_image, by_image, by_kernel, convolve
from artifex.kernels.platform import platform


def conv(x: Image, kernel: Kernel, stride: int, padding: tuple[int, int]) -> Output:
    """See ``artifex.kernels.conv``."""
    run = _cpu if platform() == "cpu" else _plain
    return run(x, kernel, stride, padding)


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
