r"""Convolution with a 3x3 kernel by half the products: Winograd's minimal filtering $F(4, 3)$ along the rows.

Four rows of the output and the kernel's three are values of polynomials; six rows of the image determine the products
of both at six points $p_t$, the last at infinity:

$$D_t = \sum_j B_{tj} x_{4k+j-1},\quad U_t = \sum_u G_{tu} W_u,\quad M_t = D_t \star U_t,\quad
  y_{4k+i} = \sum_t A_{it} M_t$$

where $A_{it} = p_t^i$, $G_{tu} = p_t^u$, $B$ is the inverse of the transposed Vandermonde matrix of all six, and
$\star$ is the remaining convolution along the columns. That takes 18 products of channels where a plain sum has 36.
The points 0, +-3/4, +-3/2 keep the terms similar in size: a float32 result has 2.3 times the rounding error of a plain
sum (with the paper's 0, +-1, +-2, 3.5 times).

References: Lavin and Gray 2015, https://arxiv.org/abs/1509.09308; Barabasz et al. 2018,
https://arxiv.org/abs/1803.10986
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.kernels.convolution.vjp import Image, Output, by_flipped_image, convolve

Kernel = Float[Array, "3 3 i o"]
Row = Float[Array, "3 i o"]
Tiles = Float[Array, "b tiles w i"]
Products = Float[Array, "b tiles x o"]

ALONG: Final = ((0, 0), (1, 1))
"""Padding of a convolution along the columns."""
ROWS: Final = 4
"""Rows of the output that are computed at once."""
POINTS: Final = (0.0, 0.75, -0.75, 1.5, -1.5)


def _powers(n: int) -> Float[np.ndarray, "t {n}"]:
    r"""$p_t^0, \dots, p_t^{n-1}$; at infinity only the last is not zero."""
    return np.vstack([np.vander(POINTS, n, increasing=True), np.eye(n)[-1:]])


A, G = _powers(ROWS).T, _powers(3)
B = np.linalg.inv(_powers(ROWS + 2)).T


@jax.custom_jvp
def winograd(x: Image, kernel: Kernel) -> Output:
    """Convolve ``x``, whose height is a multiple of ``ROWS``, padded with a zero on each side."""
    return _output([convolve(d, u[None], ALONG) for d, u in zip(_rows(x), _taps(kernel), strict=True)])


@winograd.defjvp
def _tangent(primals: tuple[Image, Kernel], tangents: tuple[Image, Kernel]) -> tuple[Output, Output]:
    """Linear in the tangents; written for its transposes, which alone run in reverse mode."""
    (x, kernel), (d_x, d_kernel) = primals, tangents
    by_image = [_flipped(d, u) for d, u in zip(_rows(d_x), _taps(kernel), strict=True)]
    by_kernel = [_shifted(d, u) for d, u in zip(_rows(x), _taps(d_kernel), strict=True)]
    # One more column on both sides, and so in the cotangent: else XLA recomputes the cotangent for each product.
    return winograd(x, kernel), _output([a + b for a, b in zip(by_image, by_kernel, strict=True)])[:, :, 1:-1]


def _flipped(x: Tiles, taps: Row) -> Products:
    """$M_t$ between two columns of zeros, by flipped images: the transpose then flips no taps."""
    return jnp.pad(by_flipped_image(x, taps[None], ALONG), ((0, 0), (0, 0), (1, 1), (0, 0)))


def _shifted(x: Tiles, taps: Row) -> Products:
    """$M_t$ with one more column on both sides, by matrix products.

    The transpose is one matrix product of the image with three shifts of the cotangent, side by side.
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
    """$y$ from the $M_t$."""
    b, h, w, o = products[0].shape
    return jnp.stack([_combine(weights, products) for weights in A], axis=2).reshape(b, h * ROWS, w, o)


def _combine(weights: Float[np.ndarray, " n"], terms: Sequence[Array]) -> Array:
    """A weighted sum without the terms of weight 0."""
    parts = [t if w == 1 else float(w) * t for w, t in zip(weights, terms, strict=True) if abs(w) > 1e-9]
    return reduce(add, parts)


def _unstack(x: Array, axis: int) -> list[Array]:
    """The inverse of a stack, with a stack as its transpose; that of indexing would be a sum of padded arrays."""
    return [part.squeeze(axis) for part in jnp.split(x, x.shape[axis], axis)]
