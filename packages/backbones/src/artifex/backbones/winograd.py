r"""Convolution of 3x3 places with half the products: Winograd's minimal filtering $F(4, 3)$ along the rows.

Four rows of the output and the kernel's three are the values of polynomials; six rows of the image are enough to have
the products of both, at six points $p_t$, the last at infinity:

$$D_t = \sum_j B_{tj} x_{4k+j-1},\quad U_t = \sum_u G_{tu} W_u,\quad M_t = D_t \star U_t,\quad
  y_{4k+i} = \sum_t A_{it} M_t$$

where $A_{it} = p_t^i$, $G_{tu} = p_t^u$, $B$ is the inverse of the transposed Vandermonde matrix of all six, and
$\star$ is the convolution that is left, along the columns. That takes 18 products of channels where a plain sum has 36.
The points 0, +-3/4, +-3/2 keep the numbers alike in size: a float32 result is off by 2.3 times what a plain sum's is
(at 0, +-1, +-2, as the paper has it, by 3.5 times).

References: Lavin and Gray 2015, https://arxiv.org/abs/1509.09308; Barabasz et al. 2018,
https://arxiv.org/abs/1803.10986
"""

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.backbones.axes import Image, Output, by_image_mirrored, convolve

Kernel = Float[Array, "3 3 i o"]
Row = Float[Array, "3 i o"]
Tiles = Float[Array, "b tiles w i"]
Products = Float[Array, "b tiles x o"]

ALONG: Final = ((0, 0), (1, 1))
"""Zeros around an image that is convolved along its columns."""
ROWS: Final = 4
"""Of the output that are made at once."""
LEAST: Final = 64
"""Channels, of the image or of the output; half as many of the other."""
PRODUCTS: Final = 1 << 21
"""At least, of places and channels of both sides."""
NUMBERS: Final = 1 << 24
"""At most, of an image."""
POINTS: Final = (0.0, 0.75, -0.75, 1.5, -1.5)


def _powers(n: int) -> Float[np.ndarray, "t {n}"]:
    r"""$p_t^0, \dots, p_t^{n-1}$; of the point at infinity only the last counts."""
    return np.vstack([np.vander(POINTS, n, increasing=True), np.eye(n)[-1:]])


A, G = _powers(ROWS).T, _powers(3)
B = np.linalg.inv(_powers(ROWS + 2)).T


def pays(x: Image, kernel: Float[Array, "u v i o"]) -> bool:
    """Whether `winograd` has this convolution, and takes less time for it than a plain sum on a CPU.

    Measured on one core with AVX-512 and JAX 0.10.2, a convolution and both gradients, for the plain sum's time: on
    Intel's 0.71 with 4 images of 32x32x128, 0.66 with 16x16x256, 0.70 with one of 64x64x320; on AMD's 0.63 with 4 of
    16x16x128, 0.74 with 64 of 8x8x64, 0.71 with 64 of 8x8 from 96 channels to 32, 0.78 with 64 of 4x4 from 32 to 64,
    and 0.87 with 64 of 8x8x32, but there 0.97 with JAX 0.12. It may gain more than work: JAX 0.10.2 has a plain sum on
    one core where it makes fewer than 128 channels, and Winograd's, which wait for nothing of each other, on two.

    It does not pay where there are few places for the channels, whose kernels are transformed at each call: 1.4 with 16
    images of 4x4x512. Compiling takes a second more, so the smallest are left as they are, and `winograd` holds three
    images in place of one, so large ones are too.
    """
    places, (size, _, i, o) = math.prod(x.shape[:3]), kernel.shape
    return (
        size == 3
        and x.dtype == jnp.float32
        and x.shape[1] % ROWS == 0
        and min(i, o) >= LEAST // 2
        and max(i, o) >= LEAST
        and places >= 2 * max(i, o)
        and places * i * o >= PRODUCTS
        and places * max(i, o) <= NUMBERS
    )


@jax.custom_jvp
def winograd(x: Image, kernel: Kernel) -> Output:
    """The convolution with a zero around ``x``, whose height is a multiple of `ROWS`."""
    return _output([convolve(d, u[None], ALONG) for d, u in zip(_rows(x), _taps(kernel), strict=True)])


@winograd.defjvp
def _tangent(primals: tuple[Image, Kernel], tangents: tuple[Image, Kernel]) -> tuple[Output, Output]:
    """Linear in the tangents; in reverse mode only its transposes run, which it is written for."""
    (x, kernel), (d_x, d_kernel) = primals, tangents
    by_image = [_mirrored(d, u) for d, u in zip(_rows(d_x), _taps(kernel), strict=True)]
    by_kernel = [_shifted(d, u) for d, u in zip(_rows(x), _taps(d_kernel), strict=True)]
    # With a column more on both sides, which the cotangent has then: XLA does not repeat what made it for each product.
    return winograd(x, kernel), _output([a + b for a, b in zip(by_image, by_kernel, strict=True)])[:, :, 1:-1]


def _mirrored(x: Tiles, taps: Row) -> Products:
    """$M_t$ between two columns of zeros, from right to left.

    So the transpose needs no taps in reverse: XLA's CPU backend takes thrice as long to transpose and reverse at once.
    """
    return jnp.pad(by_image_mirrored(x, taps[None], ALONG), ((0, 0), (0, 0), (1, 1), (0, 0)))


def _shifted(x: Tiles, taps: Row) -> Products:
    """$M_t$ with a column more on both sides, as products of matrices.

    The transpose is one such product, of the image as it lies and three shifts of the cotangent side by side.
    """
    product = x.reshape(-1, x.shape[-1]) @ jnp.concatenate(_unstack(taps, 0), -1)
    parts = jnp.split(product.reshape(*x.shape[:-1], -1), 3, -1)
    return reduce(add, [jnp.pad(part, ((0, 0), (0, 0), (2 - v, v), (0, 0))) for v, part in enumerate(parts)])


def _rows(x: Image) -> list[Tiles]:
    """The $D_t$."""
    b, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (1, ROWS - 1), (0, 0), (0, 0)))
    four = _unstack(padded.reshape(b, h // ROWS + 1, ROWS, w, c), 2)
    six = [row[:, :-1] for row in four] + [row[:, 1:] for row in four[:2]]
    return [_combine(weights, six) for weights in B]


def _taps(kernel: Kernel) -> list[Row]:
    """The $U_t$."""
    three = _unstack(kernel, 0)
    return [_combine(weights, three) for weights in G]


def _output(products: list[Products]) -> Output:
    """$y$ of the $M_t$."""
    b, h, w, o = products[0].shape
    return jnp.stack([_combine(weights, products) for weights in A], axis=2).reshape(b, h * ROWS, w, o)


def _combine(weights: Float[np.ndarray, " n"], terms: Sequence[Array]) -> Array:
    """A weighted sum, without what weighs nothing."""
    parts = [t if w == 1 else float(w) * t for w, t in zip(weights, terms, strict=True) if abs(w) > 1e-9]
    return reduce(add, parts)


def _unstack(x: Array, axis: int) -> list[Array]:
    """The inverse of a stack; its transpose is a stack, and not the sum that single places' would be."""
    return [part.squeeze(axis) for part in jnp.split(x, x.shape[axis], axis)]
