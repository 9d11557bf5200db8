"""Sizes of tiles, and arrays padded to them."""

import jax.numpy as jnp
from jaxtyping import Array

from artifex.kernels.platform import Target, platform


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least ``n``."""
    return 1 << (n - 1).bit_length()


def tile(n: int, target: Target | None) -> int:
    """The width of a Pallas kernel's tile for ``n`` elements: a power of two on a GPU, all of them on a TPU.

    Interpreted kernels pad as on a GPU, to test the padding.
    """
    return n if (target or platform()) == "tpu" else power_of_two(n)


def tile_rows(numbers: int, width: int, n: int, target: Target | None) -> int:
    """The rows of a Pallas kernel's tile of about ``numbers`` elements, a power of two, for ``n`` rows."""
    fit = max(1, numbers // width)
    return max(8 if (target or platform()) == "tpu" else 1, min(1 << (fit.bit_length() - 1), power_of_two(n)))


def padded(x: Array, *sizes: int) -> Array:
    """``x`` with its last axes padded with zeros to ``sizes``."""
    ahead = [(0, 0)] * (x.ndim - len(sizes))
    behind = [(0, size - n) for size, n in zip(sizes, x.shape[x.ndim - len(sizes) :], strict=True)]
    return jnp.pad(x, ahead + behind)


def ceil_to(n: int, step: int) -> int:
    """The smallest multiple of ``step`` that is at least ``n``."""
    return -(-n // step) * step
