"""Large images in overlapping tiles, blended where they overlap."""

from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax import lax

from artifex.backbones.base import Image, OtherImage
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.ranges import check_whole


def tiled(apply: Callable[[Image], OtherImage], x: Image, *, tile: int, overlap: int) -> OtherImage:
    r"""Apply a function to tiles of ``x`` one by one and average the results, with weights that fall towards the edges.

    $$y_p = \frac{\sum_k w_k(p)\, y_k(p)}{\sum_k w_k(p)}$$

    Args:
        apply: maps images to images whose size is a multiple or a fraction; it is called with a single shape.
        x: ``(batch, height, width, channels)``.
        tile: height and width of a tile, at least 1; a smaller image is one tile.
        overlap: minimum overlap of neighboring tiles, at least 0 and below ``tile``. If ``apply`` downsamples, tiles
            must begin at whole pixels of the result.

    Raises:
        ValueError: if ``tile`` or ``overlap`` is out of range, or a tile would begin between two pixels of the result.
    """
    check_whole("tile", tile, 1)
    check_whole("overlap", overlap, 0, tile - 1)
    batch, height, width, channels = x.shape
    size = min(tile, height), min(tile, width)
    rows, columns = _starts(height, size[0], overlap), _starts(width, size[1], overlap)
    corners = [(row, column) for row in rows for column in columns]
    if len(corners) == 1:
        return apply(x)

    def result_at(corner: jnp.ndarray) -> OtherImage:
        return apply(lax.dynamic_slice(x, (0, corner[0], corner[1], 0), (batch, *size, channels)))

    results = lax.map(result_at, jnp.asarray(corners))
    scale = Fraction(results.shape[2], size[0])
    if any((position * scale).denominator != 1 for position in (*rows, *columns, height, width)):
        raise ValueError(
            f"tiles of {size} with overlap {overlap} do not begin at whole pixels of a result {scale} as large"
        )
    window = np.outer(*(_ramp(results.shape[axis], int(overlap * scale)) for axis in (2, 3)))[None, ..., None]
    total = np.zeros((1, int(height * scale), int(width * scale), 1), np.float32)
    out = jnp.zeros((batch, *total.shape[1:3], results.shape[-1]), results.dtype)
    wide = accumulation_dtype(results.dtype)
    for result, (row, column) in zip(results, corners, strict=True):
        top, left = int(row * scale), int(column * scale)
        window_at = slice(top, top + result.shape[1]), slice(left, left + result.shape[2])
        total[:, *window_at] += window
        out = out.at[:, *window_at].add((result.astype(wide) * jnp.asarray(window, wide)).astype(out.dtype))
    return (out.astype(wide) / jnp.asarray(total, wide)).astype(out.dtype)


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    return [*range(0, length - tile, tile - overlap), length - tile]


def _ramp(length: int, overlap: int) -> np.ndarray:
    positions = np.arange(length)
    return np.minimum(np.minimum(positions + 1, length - positions) / (overlap + 1), 1.0).astype(np.float32)
