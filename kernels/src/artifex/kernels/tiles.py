"""Sizes of tiles, and arrays padded to them."""

import jax.numpy as jnp
from jaxtyping import Array

from artifex.kernels.platform import Target, platform


def power_of_two(n: int) -> int:
    """The least one that is at least ``n``."""
    return 1 << (n - 1).bit_length()


def tile(n: int, target: Target | None) -> int:
    """How wide a Pallas kernel's tile of ``n`` numbers is: a GPU takes powers of two alone, a TPU whole axes.

    Interpreted, it is as on a GPU, for the padding to be tested.
    """
    return n if (target or platform()) == "tpu" else power_of_two(n)


def tile_rows(numbers: int, width: int, n: int, target: Target | None) -> int:
    """How many rows a Pallas kernel's tile of about ``numbers`` has, of ``n`` rows that there are: a power of two."""
    fit = max(1, numbers // width)
    return max(8 if (target or platform()) == "tpu" else 1, min(1 << (fit.bit_length() - 1), power_of_two(n)))


def padded(x: Array, *sizes: int) -> Array:
    """``x`` with zeros behind its last axes, up to ``sizes``."""
    ahead = [(0, 0)] * (x.ndim - len(sizes))
    behind = [(0, size - n) for size, n in zip(sizes, x.shape[x.ndim - len(sizes) :], strict=True)]
    return jnp.pad(x, ahead + behind)


def ceil_to(n: int, step: int) -> int:
    """The least multiple of ``step`` that is at least ``n``."""
    return -(-n // step) * step
