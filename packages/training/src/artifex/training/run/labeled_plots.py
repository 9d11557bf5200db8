"""Samples as one picture with the names of their classes."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from artifex.training.data import Labels
from artifex.training.run.plots import PAPER, TEAL, samples_picture

LONGEST: Final = 24
"""Largest number of characters of a name."""
FEW: Final = 3
"""Mean number of samples a class below which classes are shown side by side."""
PIXELS: Final = 2**26
_GAP: Final = 6


def labeled_picture(
    samples: Float[np.ndarray, "n *d"], labels: Labels | None, classes: Sequence[str] = ()
) -> Image.Image:
    """Draw images in rows, those of a class after its name, or below it if there are few of each.

    Args:
        samples: see ``samples_picture``, which draws points and samples without labels.
        labels: of each sample.
        classes: names of the labels 0, 1, ...; a label without a name, or with one that the font can't show, is shown
            as its number.

    Raises:
        ValueError: as ``samples_picture`` does.
    """
    if labels is None or samples.ndim != 4 or len(samples) == 0:
        return samples_picture(samples, labels)
    width, height = samples_picture(samples[:1]).size
    samples = samples[: max(1, PIXELS // (width * height))]
    labels = labels[: len(samples)]
    present = np.unique(labels).tolist()
    strips = [samples_picture(samples[labels == label]) for label in present]
    font = ImageFont.truetype(_font(), min(28, max(13, height // 5)))
    names = [shown_name(classes, label) for label in present]
    side_by_side = len(samples) < FEW * len(present)
    return (_cells if side_by_side else _rows)(strips, names, font)


def shown_name(classes: Sequence[str], label: int) -> str:
    """Return the name of a label, truncated, or its number if it has none that the font can show."""
    name = classes[label] if label < len(classes) else ""
    glyphs = FT2Font(_font())
    if not name or not all(glyphs.get_char_index(ord(letter)) for letter in name):
        return str(label)
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _rows(strips: Sequence[Image.Image], names: Sequence[str], font: ImageFont.FreeTypeFont) -> Image.Image:
    left = round(max(font.getlength(name) for name in names)) + 2 * _GAP
    size = left + max(strip.width for strip in strips), sum(strip.height for strip in strips)
    sheet = Image.new("RGB", size, PAPER)
    draw, top = ImageDraw.Draw(sheet), 0
    for strip, name in zip(strips, names, strict=True):
        sheet.paste(strip, (left, top))
        draw.text((left - _GAP, top + strip.height / 2), name, TEAL, font, anchor="rm")
        top += strip.height
    return sheet


def _cells(strips: Sequence[Image.Image], names: Sequence[str], font: ImageFont.FreeTypeFont) -> Image.Image:
    line = sum(font.getmetrics()) + _GAP
    width = max(*(strip.width for strip in strips), *(round(font.getlength(name)) + 2 * _GAP for name in names))
    height = max(strip.height for strip in strips) + line
    columns = min(len(strips), 10)
    sheet = Image.new("RGB", (columns * width, -(-len(strips) // columns) * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (strip, name) in enumerate(zip(strips, names, strict=True)):
        x, y = i % columns * width, i // columns * height
        draw.text((x + width / 2, y + line / 2), name, TEAL, font, anchor="mm")
        sheet.paste(strip, (x + (width - strip.width) // 2, y + line))
    return sheet


@lru_cache(maxsize=1)
def _font() -> str:
    """Return the file of the font that Matplotlib includes."""
    return findfont(FontProperties(family="DejaVu Sans", weight="bold"))
