"""Layout and range of arrays of examples: channels last, on a known scale."""

from typing import Final, Literal

import numpy as np

from artifex.training.data.source import ROUNDING, STANDARD, is_sample

Layout = Literal["NHWC", "NCHW", "NHW"]

LOOKED_AT: Final = 256
"""Number of evenly spaced examples of a mapped file to check the values of."""


def channels_last(x: np.ndarray, layout: Layout | None, name: str) -> np.ndarray:
    """Convert to ``(n, d)`` or ``(n, h, w, c)``, without a copy.

    Args:
        x: points ``(n, d)``, images ``(n, h, w)`` of one channel, ``(n, h, w, c)`` or, with that ``layout``,
            ``(n, c, h, w)``; other ranks are unchanged.
        layout: of the axes; None is NHW for three and NHWC for four, unless the shape is ambiguous.
        name: of their origin, for messages.

    Raises:
        ValueError: if the axes are not of that layout, or the shape is ambiguous without one.
    """
    if layout is not None and x.ndim != len(layout):
        raise ValueError(f"{name}: layout {layout} is of {len(layout)} axes, got {x.shape}")
    if layout is None and x.ndim == 4 and _channels_first(x.shape):
        raise ValueError(
            f"{name}: images must be (n, height, width, channels), got {x.shape}, which looks like channels first; "
            "set data.layout=NCHW, or NHWC if it is not"
        )
    if layout is None and x.ndim == 3 and x.shape[2] <= 4:
        raise ValueError(
            f"{name}: images must be (n, height, width, channels), got {x.shape}, which looks like a single image; "
            "add an axis in front, or set data.layout=NHW if it is several"
        )
    match x.ndim:
        case 3:
            return x[..., None]
        case 4 if layout == "NCHW":
            return x.transpose(0, 2, 3, 1)
        case _:
            return x


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Return True if the second axis looks like channels: a few, or fewer than the equal sides after it."""
    _, second, third, last = shape
    return last > 4 and (second <= 4 or second < third == last)


def stated_range(x: np.ndarray, value_range: tuple[float, float] | None, name: str) -> tuple[float, float]:
    """Return the range that is mapped to [-1, 1]: ``value_range``, or if it is None the default of the dtype of ``x``.

    Raises:
        ValueError: for a dtype without a default, and for images that seem to have another range: floats in [0, 1] or
            beyond [-1, 1], bytes of 0 and 1. Of mapped arrays some examples are checked.
    """
    if not (is_sample(x) or np.issubdtype(x.dtype, np.integer)):
        raise ValueError(f"{name} must hold examples (n, ...) of uint8 or a float, got {x.shape} of {x.dtype}")
    if value_range is not None or x.dtype == np.bool_ or x.size == 0:
        return STANDARD if value_range is None else value_range
    some = x[:: -(-len(x) // LOOKED_AT)] if isinstance(x, np.memmap) else x
    low, high = float(some.min()), float(some.max())
    likely = next((end for end in (1, 255, 65535) if low >= 0 and high <= end), None)
    advice = f"set data.value_range={f'[0,{likely}]' if likely else f'[{low:g},{high:g}]'}, its black and white"
    if not is_sample(x):
        raise ValueError(
            f"{name} must hold examples (n, ...) of uint8 or a float, "
            f"got {x.shape} of {x.dtype} in [{low:g}, {high:g}]; {advice}"
        )
    if x.ndim < 3 or not np.isfinite(low + high):
        return STANDARD
    if x.dtype == np.uint8:
        if high == 1:
            raise ValueError(
                f"{name}: bytes must lie in [0, 255], got none above 1; {advice}, or [0,255] if they are meant so"
            )
    elif low < -1 - ROUNDING or high > 1 + ROUNDING:
        raise ValueError(f"{name}: images must lie in [-1, 1] without a value_range, got [{low:g}, {high:g}]; {advice}")
    elif 0 <= low < high:
        raise ValueError(
            f"{name}: images must lie in [-1, 1] without a value_range, got [{low:g}, {high:g}], which looks "
            f"like [0, 1]; {advice}, or [-1,1] if they are meant so"
        )
    return STANDARD
