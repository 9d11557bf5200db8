"""Image files decoded to arrays of one format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageOps

from artifex.training.data.source import UnreadableError

Background = Literal["white", "black"]
Mode = Literal["rgb", "gray"]

_CHANNELS: Final = {"rgb": 3, "gray": 1}
_BYTES: Final = ("1", "L", "P", "RGB", "RGBX", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV")
"""Pillow's modes of 8 bits a channel, which it converts to RGB and gray."""
_SCALED: Final = ("PNG", "PPM")
"""Formats whose mode ``I`` has 16 bits, with white at 65535."""


@dataclass(frozen=True)
class Form:
    """The format that every image is converted to.

    Attributes:
        mode: rgb or gray.
        size: height and width: the shorter side is resized and the longer one cropped; None keeps images as they are.
        background: color behind transparent pixels.
        value_range: the values that are mapped to -1 and 1 for gray images of 16 bits, 32 bits and floats; None is 0
            and 65535 for 16 bits, and refuses the others, which have no defined white.
    """

    mode: Mode = "rgb"
    size: tuple[int, int] | None = None
    background: Background = "white"
    value_range: tuple[float, float] | None = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return _CHANNELS[self.mode]


def decode(path: Path, form: Form) -> Float32[np.ndarray, "h w c"]:
    """Decode an image file to pixels in [-1, 1], oriented by its EXIF data; of several images in it, the first.

    Gray images of 16 bits keep their precision.

    Raises:
        UnreadableError: if it is corrupt, or its pixels need a ``value_range``.
    """
    try:
        with Image.open(path) as image:
            return _pixels(image, form)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise almost anything for corrupt files
        raise UnreadableError(str(path), str(error) or type(error).__name__) from error


def _pixels(image: Image.Image, form: Form) -> Float32[np.ndarray, "h w c"]:
    scaled = image.format in _SCALED
    if form.size is not None:
        # A JPEG is decoded at a half, a quarter or an eighth of its size if that is at least twice the target.
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
    """Remove transparency and convert to the mode of ``form``."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, form.background), image)
    return image.convert("RGB" if form.mode == "rgb" else "L")


def _shades(image: Image.Image, form: Form, scaled: bool) -> tuple[Image.Image, float]:
    """Convert gray images of more than 8 bits to floats from 0; return them and the value of white."""
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and scaled)
    if not sixteen and image.mode not in ("I", "F"):
        raise ValueError(f"pixels must be colors or shades, got Pillow's mode {image.mode}; save it as RGB")
    values = np.asarray(image, np.float64)
    least, largest = float(values.min()), float(values.max())
    found = "32-bit floats" if image.mode == "F" else f"{16 if sixteen else 32}-bit integers"
    found = f"{found} in [{least:g}, {largest:g}]"
    if form.value_range is None and not sixteen:
        raise ValueError(f"pixels must be of 8 or 16 bits without a value_range, got {found}")
    low, high = form.value_range or (0.0, 65535.0)
    if not low <= least <= largest <= high:
        raise ValueError(f"pixels must lie in value_range [{low:g}, {high:g}], got {found}")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values = np.where(values == transparent, low if form.background == "black" else high, values)
    return Image.fromarray((values - low).astype(np.float32)), high - low
