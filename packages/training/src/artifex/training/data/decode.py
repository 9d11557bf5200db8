"""Image files as arrays of one form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageOps

from artifex.training.data.source import UnreadableError

Background = Literal["white", "black"]
Mode = Literal["rgb", "grey"]

_CHANNELS: Final = {"rgb": 3, "grey": 1}
_BYTES: Final = ("1", "L", "P", "RGB", "RGBX", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV")
"""Pillow's modes of 8 bits a channel that it turns into colours and shades."""
_SCALED: Final = ("PNG", "PPM")
"""Formats whose mode ``I`` is of 16 bits, white at 65535."""


@dataclass(frozen=True)
class Form:
    """The form that every image is brought to.

    Attributes:
        mode: colours or shades.
        size: height and width: the shorter side is scaled and the longer one cut on both ends; None leaves images as
            they are.
        background: what shows through transparent pixels.
        value_range: what is mapped to -1 and 1 of shades of 16 bits, 32 bits and of floats; None is 0 and 65535 of 16
            bits, and refuses the others, which have no white of their own.
    """

    mode: Mode = "rgb"
    size: tuple[int, int] | None = None
    background: Background = "white"
    value_range: tuple[float, float] | None = None

    @property
    def channels(self) -> int:
        """The number of channels."""
        return _CHANNELS[self.mode]


def decode(path: Path, form: Form) -> Float32[np.ndarray, "h w c"]:
    """An image file's pixels in [-1, 1], turned the way its EXIF data say; of several images in it, the first.

    Shades of 16 bits keep their precision.

    Raises:
        UnreadableError: if it is no whole image, or its pixels are of a kind that ``form`` does not cover.
    """
    try:
        with Image.open(path) as image:
            return _pixels(image, form)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise almost anything on broken files
        raise UnreadableError(str(path), str(error) or type(error).__name__) from error


def _pixels(image: Image.Image, form: Form) -> Float32[np.ndarray, "h w c"]:
    scaled = image.format in _SCALED
    if form.size is not None:
        # A JPEG is decoded at a half, a quarter or an eighth where that is at least twice what is wanted.
        image.draft(None, (2 * max(form.size), 2 * max(form.size)))
    image = ImageOps.exif_transpose(image)
    if image.mode in _BYTES:
        image, span = _flattened(image, form), 255.0
    else:
        image, span = _shades(image, form, scaled)
    if form.size is not None:
        height, width = form.size
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    x = np.asarray(image, np.float32).reshape(image.height, image.width, -1)
    x = np.clip(x, 0, span) / np.float32(span / 2) - np.float32(1)
    return np.broadcast_to(x, (*x.shape[:2], form.channels))


def _flattened(image: Image.Image, form: Form) -> Image.Image:
    """Without transparency, in the mode of ``form``."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, form.background), image)
    return image.convert("RGB" if form.mode == "rgb" else "L")


def _shades(image: Image.Image, form: Form, scaled: bool) -> tuple[Image.Image, float]:
    """Shades of more than 8 bits as floats from 0, and what of them is white."""
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and scaled)
    if not sixteen and image.mode not in ("I", "F"):
        raise ValueError(f"pixels must be colours or shades, got Pillow's mode {image.mode}; save it as RGB")
    values = np.asarray(image, np.float64)
    least, largest = float(values.min()), float(values.max())
    found = "32-bit floats" if image.mode == "F" else f"{16 if sixteen else 32}-bit integers"
    found = f"{found} in [{least:g}, {largest:g}]"
    if form.value_range is None and not sixteen:
        raise ValueError(f"pixels must be of 8 or 16 bits where value_range names no black and white, got {found}")
    low, high = form.value_range or (0.0, 65535.0)
    if not low <= least <= largest <= high:
        raise ValueError(f"pixels must lie in value_range [{low:g}, {high:g}], got {found}")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values = np.where(values == transparent, low if form.background == "black" else high, values)
    return Image.fromarray((values - low).astype(np.float32)), high - low
