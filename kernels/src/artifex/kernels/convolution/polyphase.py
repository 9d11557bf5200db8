r"""Convolution of an image upsampled 2x2 with a 3x3 kernel, by a quarter of the products.

Along one axis, two outputs depend on two or three pixels of the original image. With their differences
$d_i = x_i - x_{i-1}$, zeros around the image, and the kernel's sum $S = W_0 + W_1 + W_2$,

$$y_{2i} = S x_i - W_0 d_i,\quad y_{2i+1} = S x_i + W_2 d_{i+1}$$

takes three products for two outputs where a plain sum takes six. Along both axes that is nine for four, all of them
matrix products, where a plain sum takes 36.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "b h w i"]
Upsampled = Float[Array, "b y x o"]
Kernel = Float[Array, "3 3 i o"]
Products = tuple[Array, ...]


@jax.custom_jvp
def polyphase(x: Image, kernel: Kernel) -> Upsampled:
    """Convolve ``x``, upsampled 2x2 and padded with a zero on each side."""
    return _output(_products(x, kernel))


@polyphase.defjvp
def _tangent(primals: tuple[Image, Kernel], tangents: tuple[Image, Kernel]) -> tuple[Upsampled, Upsampled]:
    (x, kernel), (d_x, d_kernel) = primals, tangents
    along = (a + b for a, b in zip(_products(d_x, kernel), _products(x, d_kernel), strict=True))
    # One more column, and so in the cotangent: else XLA recomputes the cotangent for each product.
    padded = tuple(jnp.pad(a, ((0, 0), (0, 0), (0, 1), (0, 0))) for a in along)
    return polyphase(x, kernel), _output(padded)[:, :, :-2]


def _products(x: Image, kernel: Kernel) -> Products:
    """The products of the image, of its differences along columns, along rows, and along both."""
    (ss, sl, sr), (us, ul, ur), (ds, dl, dr) = (_phases(row) for row in _phases(kernel))
    columns, rows = _differences(x, 2), _differences(x, 1)
    (center,) = _multiply(x, ss)
    left, right = _multiply(columns, sl, sr)
    up, down = _multiply(rows, us, ds)
    up_left, up_right, down_left, down_right = _multiply(_differences(rows, 2), ul, ur, dl, dr)
    return (
        center, left[:, :, :-1], right[:, :, 1:], up[:, :-1], down[:, 1:],
        up_left[:, :-1, :-1], up_right[:, :-1, 1:], down_left[:, 1:, :-1], down_right[:, 1:, 1:],
    )  # fmt: skip


def _output(products: Products) -> Upsampled:
    """Interleave the four outputs of each pixel."""
    center, left, right, up, down, up_left, up_right, down_left, down_right = products
    b, h, w, o = center.shape
    above = jnp.stack([center + left + up + up_left, center + right + up + up_right], 3)
    below = jnp.stack([center + left + down + down_left, center + right + down + down_right], 3)
    return jnp.stack([above, below], 2).reshape(b, 2 * h, 2 * w, o)


def _phases(kernel: Array) -> tuple[Array, Array, Array]:
    """$S$, $-W_0$ and $W_2$ along the first axis."""
    first, middle, last = (part.squeeze(0) for part in jnp.split(kernel, 3))
    return first + middle + last, -first, last


def _differences(x: Array, axis: int) -> Array:
    """The $d_i$, one more than there are pixels."""
    after, before = ([n if a == axis else (0, 0) for a in range(x.ndim)] for n in ((0, 1), (1, 0)))
    return jnp.pad(x, after) - jnp.pad(x, before)


def _multiply(x: Array, *kernels: Array) -> list[Array]:
    """The products of ``x`` with all ``kernels``, as one."""
    product = x.reshape(-1, x.shape[-1]) @ jnp.concatenate(kernels, -1)
    return jnp.split(product.reshape(*x.shape[:-1], -1), len(kernels), -1)
