"""Convolution whose gradients XLA's CPU backend is quick at.

On CPU, XLA has YNNPACK run a convolution whose axes are in the order ``NHWC``, ``HWIO``, ``NHWC``, at 120 GFLOP/s a
core (measured with JAX 0.10.2 and AVX-512, 128 to 512 channels, 32x32 to 8x8 places). The derivative rules of `jax.lax`
write both gradients with other orders. XLA puts them right in a program's entry, but not in the body of a loop: there
the kernel's gradient took 20 to 70 times as long, at 2 to 6 GFLOP/s, and the image's 7 times. And anywhere the kernel's
gradient falls to 55 GFLOP/s when the cotangent outgrows the core's cache; a sum of parts keeps 95.

The large ones among those of 3x3 places are done with half the products, see `artifex.backbones.winograd`, and those
after a nearest neighbour's upsampling with a quarter, see `artifex.backbones.doubled`.
"""

import math
from typing import Final

import jax
import jax.numpy as jnp

from artifex.backbones import doubled, winograd
from artifex.backbones.axes import BY_KERNEL, Image, Kernel, Output, by_image, by_image_mirrored, convolve
from artifex.kernels.platform import platform

NUMBERS: Final = 1 << 18
"""Of a cotangent, 1 MiB, that the kernel's gradient takes at once: half a core's second cache where it was measured."""

PARTS: Final = 8
"""At most, since each is compiled by itself."""


def conv(x: Image, kernel: Kernel, *, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> Output:
    r"""Square convolution, padded with zeros before and after on both axes.

    $$y_{ij} = \sum_{uv} x_{si+u-p,\,sj+v-p} W_{uv}$$

    Differentiable any number of times, forward and backward; on CPU by rules of its own.

    Args:
        x: ``(batch, height, width, in)``.
        kernel: ``(size, size, in, out)``, of the dtype of ``x``.
        stride: $s$, the same on both axes.
        padding: Places of zeros (before, after), the same on both axes; $p$ is the first.

    Returns:
        ``(batch, rows, columns, out)``.
    """
    if platform() != "cpu":
        return _plain(x, kernel, stride, padding)
    if stride == 1 and padding == (1, 1) and winograd.pays(x, kernel):
        return winograd.winograd(x, kernel)
    return _on_cpu(x, kernel, stride, padding)


def conv_doubled(x: Image, kernel: Kernel, *, padding: tuple[int, int] = (0, 0)) -> Output:
    """`conv` of an image whose places are repeated 2x2."""
    if platform() == "cpu" and padding == (1, 1) and doubled.pays(x, kernel):
        return doubled.nine_products(x, kernel)
    return conv(doubled.double(x), kernel, padding=padding)


def _plain(x: Image, kernel: Kernel, stride: int, padding: tuple[int, int]) -> Output:
    return convolve(x, kernel, (padding, padding), stride=stride)


_on_cpu = jax.custom_jvp(_plain, nondiff_argnums=(2, 3))


@_on_cpu.defjvp
def _tangent(
    stride: int, padding: tuple[int, int], primals: tuple[Image, Kernel], tangents: tuple[Image, Kernel]
) -> tuple[Output, Output]:
    """Linear in the tangents; in reverse mode only its transposes run."""
    (x, kernel), (d_x, d_kernel) = primals, tangents
    y = _on_cpu(x, kernel, stride, padding)
    if stride == 1 and kernel.size > x.size + y.size:
        along = by_image_mirrored(d_x, kernel, (padding, padding))
    else:
        along = by_image(d_x, kernel, (padding, padding), stride=stride)
    return y, along + _by_kernel(x, d_kernel, stride, padding, y.shape)


def _by_kernel(x: Image, d_kernel: Kernel, stride: int, padding: tuple[int, int], shape: tuple[int, ...]) -> Output:
    """The convolution in parts, some rows of ``y`` each; so its transpose is a sum of parts, each of few numbers."""
    rows, size, (before, _) = shape[1], d_kernel.shape[0], padding
    height = rows // math.gcd(rows, min(PARTS, -(-math.prod(shape) // NUMBERS)))
    w = d_kernel.transpose(2, 0, 1, 3)
    parts = []
    for row in range(0, rows, height):
        start = row * stride - before
        end = start + (height - 1) * stride + size
        part = x[:, max(start, 0) : end].transpose(3, 1, 2, 0)
        edges = max(-start, 0), max(end - x.shape[1], 0)
        parts.append(convolve(part, w, (edges, padding), stride=stride, axes=BY_KERNEL).transpose(2, 0, 1, 3))
    return jnp.concatenate(parts, axis=1)
