"""Convolution as the formula reads: one matrix product for each kernel position."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.kernels.convolution.resize import upsample_nearest
from artifex.kernels.dtypes import accumulation_dtype

Image = Float[Array, "b h w i"]
Kernel = Float[Array, "u v i o"]
Output = Float[Array, "b y x o"]


def conv(x: Image, kernel: Kernel, stride: int, padding: tuple[int, int]) -> Output:
    """See ``artifex.kernels.conv``."""
    wide = accumulation_dtype(x.dtype)
    padded = jnp.pad(x, ((0, 0), padding, padding, (0, 0))).astype(wide)
    height, width = ((n - k) // stride + 1 for n, k in zip(padded.shape[1:3], kernel.shape[:2], strict=True))
    rows, columns = (stride * (n - 1) + 1 for n in (height, width))
    y = jnp.zeros((x.shape[0], height, width, kernel.shape[3]), wide)
    for u, v in np.ndindex(*kernel.shape[:2]):
        y += padded[:, u : u + rows : stride, v : v + columns : stride] @ kernel[u, v].astype(wide)
    return y.astype(x.dtype)


def upsample_conv(x: Image, kernel: Kernel, padding: tuple[int, int]) -> Output:
    """See ``artifex.kernels.upsample_conv``."""
    return conv(upsample_nearest(x), kernel, 1, padding)
