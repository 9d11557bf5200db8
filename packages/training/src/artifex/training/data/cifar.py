"""The binary files of CIFAR-10 and CIFAR-100: 32x32 color images after their labels.

References: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import numpy as np

from artifex.training.data.idx import Split, listing
from artifex.training.data.source import ArraySource

Labeling = Literal["cifar10", "cifar100", "cifar100_coarse"]

_PIXELS: Final = 3 * 32 * 32


class _Layout(NamedTuple):
    """Number of labels of an image, column to use, number of classes, files, and file of the class names."""

    labels: int
    column: int
    classes: int
    files: Mapping[Split, tuple[str, ...]]
    names: str


_CIFAR10: Final[Mapping[Split, tuple[str, ...]]] = MappingProxyType(
    {
        "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test": ("test_batch.bin",),
    }
)
_CIFAR100: Final[Mapping[Split, tuple[str, ...]]] = MappingProxyType({"train": ("train.bin",), "test": ("test.bin",)})

LAYOUTS: Final[Mapping[Labeling, _Layout]] = MappingProxyType(
    {
        "cifar10": _Layout(1, 0, 10, _CIFAR10, "batches.meta.txt"),
        "cifar100": _Layout(2, 1, 100, _CIFAR100, "fine_label_names.txt"),
        "cifar100_coarse": _Layout(2, 0, 20, _CIFAR100, "coarse_label_names.txt"),
    }
)


def read_cifar(folder: Path, split: Split, labeling: Labeling) -> ArraySource:
    """Read the images ``(32, 32, 3)`` and labels of a folder of ``data_batch_1.bin`` or ``train.bin`` and so on.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is truncated, or has a label out of range.
    """
    layout = LAYOUTS[labeling]
    paths = [folder / name for name in layout.files[split]]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} must hold {', '.join(missing)}, got {listing(folder)}")
    records = np.concatenate([_records(path, layout) for path in paths])
    x = records[:, layout.labels :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return ArraySource(np.ascontiguousarray(x), records[:, layout.column].astype(np.int32), str(folder))


def class_names(folder: Path, labeling: Labeling) -> tuple[str, ...]:
    """Read the names of the classes from the set's text file; empty if there is no such file."""
    layout = LAYOUTS[labeling]
    try:
        names = tuple((folder / layout.names).read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return ()
    return names if len(set(names)) == layout.classes == len(names) else ()


def _records(path: Path, layout: _Layout) -> np.ndarray:
    record = layout.labels + _PIXELS
    content = np.fromfile(path, np.uint8)
    if len(content) == 0 or len(content) % record:
        raise ValueError(f"{path} must hold records of {record} bytes and at least one, got {len(content)} bytes")
    records = content.reshape(-1, record)
    labels = records[:, layout.column]
    if labels.max() >= layout.classes:
        raise ValueError(
            f"{path}: labels must be in 0..{layout.classes - 1}, got {labels.max()} of image {int(labels.argmax())}"
        )
    return records
