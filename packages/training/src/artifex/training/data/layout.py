"""Arrays of examples as the data package has them: channels last, on a known scale."""

from typing import Final, Literal

import numpy as np

from artifex.training.data.source import ROUNDING, STANDARD, is_sample

Layout = Literal["NHWC", "NCHW", "NHW"]

LOOKED_AT: Final = 256
"""Examples of a mapped file whose values are looked at, evenly over the file."""


def channels_last(x: np.ndarray, layout: Layout | None, name: str) -> np.ndarray:
    """``x`` as ``(n, d)`` or ``(n, h, w, c)``, without a copy.

    Args:
        x: points ``(n, d)``, images ``(n, h, w)`` of one channel, ``(n, h, w, c)`` or, where ``layout`` states it,
            ``(n, c, h, w)``; other ranks are left as they are.
        layout: what the axes are; None is NHW of three and NHWC of four, unless they look like something else.
        name: of what they are from, for messages.

    Raises:
        ValueError: if the axes are not of that layout, or look like something else where none is stated.
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
    """Whether the second axis looks like channels: a few, or fewer than the pixels of equal sides behind it."""
    _, second, third, last = shape
    return last > 4 and (second <= 4 or second < third == last)


def stated_range(x: np.ndarray, value_range: tuple[float, float] | None, name: str) -> tuple[float, float]:
    """The range that is mapped to [-1, 1]: ``value_range``, or where it is None the standard of the type of ``x``.

    Raises:
        ValueError: for a type that has none, and for images whose values another range would explain better: floats
            in [0, 1] or beyond [-1, 1], bytes of 0 and 1. Of mapped arrays some examples are looked at.
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
        raise ValueError(
            f"{name}: images must lie in [-1, 1] where no value_range is stated, got [{low:g}, {high:g}]; {advice}"
        )
    elif 0 <= low < high:
        raise ValueError(
            f"{name}: images must lie in [-1, 1] where no value_range is stated, got [{low:g}, {high:g}], which looks "
            f"like [0, 1]; {advice}, or [-1,1] if they are meant so"
        )
    return STANDARD
