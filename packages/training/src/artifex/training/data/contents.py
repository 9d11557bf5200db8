"""A summary of a data set for the user."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from PIL import Image

from artifex.training.data.dataset import Dataset
from artifex.training.data.folder import ImageFolderSource
from artifex.training.data.source import ArraySource

LISTED: Final = 12
"""Largest number of classes to list with their counts."""
_OF_SEVERAL: Final = (".avif", ".gif", ".tif", ".tiff", ".webp")
_OPENED: Final = 500


def summary(data: Dataset) -> str:
    """Summarize number and shape of the examples, the classes with their counts, and what was left out.

    For an image folder up to 500 files that may contain several images are opened.
    """
    return "\n  ".join([f"data: {_kind(len(data), data.shape)} in {data.name}", *_classes(data), *_notes(data)])


def label_name(classes: Sequence[str], label: int) -> str:
    """Return the name of a label, or its number if it has none."""
    return classes[label] if label < len(classes) else str(label)


def _kind(count: int, shape: tuple[int, ...]) -> str:
    match shape:
        case (height, width, channels):
            size = f"{height}x{width} pixels and {_number(channels, 'channel')}"
            return f"{_number(count, 'image')} of {size}"
        case (numbers,):
            return f"{_number(count, 'point')} of {_number(numbers, 'number')}"
        case _:
            return f"{_number(count, 'example')} of shape {shape}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def _classes(data: Dataset) -> Iterator[str]:
    if data.num_classes is None:
        yield "no classes"
        return
    source = data.source
    labels = source.labels if isinstance(source, ArraySource | ImageFolderSource) else None
    names = [label_name(data.classes, label) for label in range(min(data.num_classes, LISTED))]
    if labels is not None:
        counts = np.bincount(labels, minlength=data.num_classes)
        names = [f"{name} ({count:,})" for name, count in zip(names, counts.tolist(), strict=False)]
    more = data.num_classes - len(names)
    between = f" of {counts.min():,} to {counts.max():,} each" if labels is not None and more else ""
    shown = ", ".join(names) + (f" and {more:,} more" if more else "")
    yield f"{data.num_classes:,} class{'es' if data.num_classes > 1 else ''}{between}: {shown}"


def _notes(data: Dataset) -> Iterator[str]:
    yield from data.notes
    source = data.source
    if isinstance(source, ImageFolderSource):
        files = [name for name in source.files if name.lower().endswith(_OF_SEVERAL)]
        several = sum(_frames(source, name) > 1 for name in files[:_OPENED])
        if several:
            looked = f" among the first {_OPENED} that may" if len(files) > _OPENED else ""
            yield f"files that hold several images{looked} ({several:,}): the first of each is read"


def _frames(source: ImageFolderSource, name: str) -> int:
    try:
        with Image.open(source.folder / name) as image:
            return getattr(image, "n_frames", 1)
    except Exception:  # unreadable files are reported when they are used
        return 1
