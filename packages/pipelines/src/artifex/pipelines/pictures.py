"""Pictures as arrays and back, read from and written to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

Picture = Image.Image | Path | str
Array = np.ndarray
WHITE: Final = "white"


def read_picture(picture: Picture, *, gray: bool = False) -> Image.Image:
    """Open a picture, turned by its EXIF data, in RGB or gray; transparency becomes white.

    Raises:
        ValueError: if the file is no picture.
        OSError: if there is no such file.
    """
    if not isinstance(picture, Image.Image):
        path = Path(picture).expanduser()
        try:
            with Image.open(path) as opened:
                opened.load()
                picture = opened
        except FileNotFoundError:
            raise FileNotFoundError(f"no picture {path}") from None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} is not a picture that can be read: {error}") from error
    turned = ImageOps.exif_transpose(picture)
    if turned.has_transparency_data:
        turned = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, WHITE), turned)
    return turned.convert("L" if gray else "RGB")


def to_pixels(picture: Image.Image, size: tuple[int, int]) -> Float[Array, "height width 3"]:
    """Resize to ``(height, width)`` and scale to [-1, 1]."""
    height, width = size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32) / np.float32(127.5) - np.float32(1)


def to_mask(mask: Image.Image, size: tuple[int, int]) -> Float[Array, "height width"]:
    """Resize to ``(height, width)``; 1 where the mask is white, 0 where it is black, divided at the middle gray."""
    height, width = size
    if mask.size != (width, height):
        mask = mask.resize((width, height), Image.Resampling.LANCZOS)
    return (np.asarray(mask, np.float32) >= np.float32(127.5)).astype(np.float32)


def to_pictures(pixels: Float[Array, "b height width c"]) -> list[Image.Image]:
    """Pictures of pixels, of which those outside of [-1, 1] are clipped; of one channel, gray ones."""
    levels = np.clip(np.asarray(pixels, np.float32) / 2 + 0.5, 0, 1)
    arrays = np.round(levels * 255).astype(np.uint8)
    return [Image.fromarray(a[..., 0] if a.shape[-1] == 1 else a) for a in arrays]


def contact_sheet(pictures: Sequence[Image.Image], columns: int | None = None, gap: int = 4) -> Image.Image:
    """All pictures in rows, by default about as many rows as columns.

    Raises:
        ValueError: if there is no picture.
    """
    if not pictures:
        raise ValueError("pictures must hold at least one picture, got none")
    columns = min(len(pictures), columns or int(np.ceil(np.sqrt(len(pictures)))))
    rows = -(-len(pictures) // columns)
    width, height = (max(picture.size[axis] for picture in pictures) + gap for axis in (0, 1))
    sheet = Image.new("RGB", (columns * width + gap, rows * height + gap), WHITE)
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (gap + i % columns * width, gap + i // columns * height))
    return sheet
