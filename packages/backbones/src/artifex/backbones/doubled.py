r"""Convolution of 3x3 places over an image whose places are repeated 2x2, with a quarter of the products.

Along one axis two outputs see two or three places of the image as it was. With their differences
$d_i = x_i - x_{i-1}$, zeros around the image, and the kernel's sum $S = W_0 + W_1 + W_2$,

$$y_{2i} = S x_i - W_0 d_i,\quad y_{2i+1} = S x_i + W_2 d_{i+1}$$

takes three products for two outputs, where a plain sum takes six. So along both axes it is nine for four, all of them
products of matrices, where a plain sum takes 36.
"""

import math
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Image = Float[Array, "b h w i"]
Large = Float[Array, "b y x o"]
Kernel = Float[Array, "3 3 i o"]
Products = tuple[Array, ...]

LEAST: Final = 64
"""Channels on both sides, and places of all images together."""
NUMBERS: Final = 1 << 24
"""At most, of an output."""


def double(x: Image) -> Large:
    """Repeat every place 2x2 times."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def resized(x: Image, height: int, width: int) -> Large:
    r"""Another size by the nearest neighbour: of $h$ rows, row $\lfloor i h / h' \rfloor$ becomes row $i$ of $h'$."""
    rows, columns = (np.arange(new) * old // new for old, new in zip(x.shape[1:3], (height, width), strict=True))
    return x[:, rows][:, :, columns]


def pays(x: Image, kernel: Float[Array, "u v i o"]) -> bool:
    """Whether `nine_products` has this convolution, and takes less time for it than a plain sum on a CPU.

    Measured on one core with AVX-512 and JAX 0.10.2, a convolution and both gradients, for the time of
    `artifex.backbones.convolution.conv`: 0.45 with 4 images of 16x16x256, 0.51 with 4x4x256, 0.45 with one of
    32x32x320, 0.64 with 64 of 4x4x128.
    """
    places, (size, _, i, o) = math.prod(x.shape[:3]), kernel.shape
    return size == 3 and x.dtype == jnp.float32 and min(i, o, places) >= LEAST and 4 * places * max(i, o) <= NUMBERS


@jax.custom_jvp
def nine_products(x: Image, kernel: Kernel) -> Large:
    """The convolution of `double` of ``x`` with a zero around it."""
    return _output(_products(x, kernel))


@nine_products.defjvp
def _tangent(primals: tuple[Image, Kernel], tangents: tuple[Image, Kernel]) -> tuple[Large, Large]:
    (x, kernel), (d_x, d_kernel) = primals, tangents
    along = (a + b for a, b in zip(_products(d_x, kernel), _products(x, d_kernel), strict=True))
    # With a column more, which the cotangent has then: XLA does not repeat what made it for each product.
    more = tuple(jnp.pad(a, ((0, 0), (0, 0), (0, 1), (0, 0))) for a in along)
    return nine_products(x, kernel), _output(more)[:, :, :-2]


def _products(x: Image, kernel: Kernel) -> Products:
    """Those of the image, of its differences along columns, along rows, and along both."""
    (ss, sl, sr), (us, ul, ur), (ds, dl, dr) = (_three(row) for row in _three(kernel))
    columns, rows = _differences(x, 2), _differences(x, 1)
    (centre,) = _times(x, ss)
    left, right = _times(columns, sl, sr)
    up, down = _times(rows, us, ds)
    up_left, up_right, down_left, down_right = _times(_differences(rows, 2), ul, ur, dl, dr)
    return (
        centre, left[:, :, :-1], right[:, :, 1:], up[:, :-1], down[:, 1:],
        up_left[:, :-1, :-1], up_right[:, :-1, 1:], down_left[:, 1:, :-1], down_right[:, 1:, 1:],
    )  # fmt: skip


def _output(products: Products) -> Large:
    """The four outputs of each place, side by side and one below the other."""
    centre, left, right, up, down, up_left, up_right, down_left, down_right = products
    b, h, w, o = centre.shape
    above = jnp.stack([centre + left + up + up_left, centre + right + up + up_right], 3)
    below = jnp.stack([centre + left + down + down_left, centre + right + down + down_right], 3)
    return jnp.stack([above, below], 2).reshape(b, 2 * h, 2 * w, o)


def _three(kernel: Array) -> tuple[Array, Array, Array]:
    """$S$, $-W_0$ and $W_2$ of the first axis."""
    first, middle, last = (part.squeeze(0) for part in jnp.split(kernel, 3))
    return first + middle + last, -first, last


def _differences(x: Array, axis: int) -> Array:
    """The $d_i$, of which there is one more than places."""
    after, before = ([n if a == axis else (0, 0) for a in range(x.ndim)] for n in ((0, 1), (1, 0)))
    return jnp.pad(x, after) - jnp.pad(x, before)


def _times(x: Array, *kernels: Array) -> list[Array]:
    """All products of one image are one."""
    product = x.reshape(-1, x.shape[-1]) @ jnp.concatenate(kernels, -1)
    return jnp.split(product.reshape(*x.shape[:-1], -1), len(kernels), -1)
