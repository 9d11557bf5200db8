"""Data sets from their configurations."""

import dataclasses
from typing import assert_never

import numpy as np

from artifex.training.data import images
from artifex.training.data.arrays import Read, read_npy, read_npz
from artifex.training.data.augment import Augmentation
from artifex.training.data.cifar import LAYOUTS, read_cifar
from artifex.training.data.cifar import class_names as cifar_names
from artifex.training.data.classes import normal
from artifex.training.data.config import (
    Arrays,
    CifarBinary,
    DataConfig,
    Digits,
    ImageFolder,
    MnistIdx,
    Toy,
    class_names,
)
from artifex.training.data.dataset import Dataset
from artifex.training.data.decode import Form
from artifex.training.data.folder import ImageFolderSource
from artifex.training.data.idx import read_mnist
from artifex.training.data.source import ArraySource, UnreadableError
from artifex.training.data.toys import TOYS, toy_points
from artifex.training.data.walk import listed


def open_dataset(config: DataConfig, *, empty_classes: bool = False) -> Dataset:
    """Open a data set: find its files, and read those that are kept in memory.

    Args:
        config: of the data set.
        empty_classes: allow classes of arrays without examples, as generated samples may have.

    Raises:
        OSError: if a file or folder is missing or unreadable.
        ValueError: if its content is invalid.
        UnreadableError: if no image of a folder can be read to determine the size, or there is a broken link and those
            are refused.
    """
    match config:
        case Digits():
            digits = images.digits()
            read = Read(ArraySource(digits.images, digits.labels, "digits"), class_names(config))
            return _labeled("digits", read, 10, config.augmentation)
        case Toy():
            x, labels = toy_points(config.name, config.size, config.seed)
            return _labeled(config.name, Read(ArraySource(x, labels, config.name)), TOYS[config.name].parts)
        case MnistIdx():
            source, names = read_mnist(
                config.path, config.split, config.prefix or "", config.transpose, config.first_label
            )
            known = names if config.num_classes in (None, len(names)) else ()
            read = Read(source, config.classes or known)
            number = _classes(config, source, empty_classes)
            return _labeled(f"mnist {config.split}", read, number, config.augmentation)
        case CifarBinary():
            source = read_cifar(config.path, config.split, config.labels)
            read = Read(source, config.classes or cifar_names(config.path, config.labels))
            name = f"{config.labels} {config.split}"
            return _labeled(name, read, LAYOUTS[config.labels].classes, config.augmentation)
        case Arrays():
            return _arrays(config, empty_classes)
        case ImageFolder():
            return _folder(config)
        case _:
            assert_never(config)


def _classes(config: MnistIdx | Arrays, source: ArraySource, empty_classes: bool) -> int | None:
    """Return the number of classes of a configuration; None is those with examples."""
    if config.classes is not None:
        return len(config.classes)
    if config.num_classes is None and empty_classes and source.labels is not None:
        return int(source.labels.max()) + 1
    return config.num_classes


def _labeled(name: str, read: Read, num_classes: int | None, augmentation: Augmentation | None = None) -> Dataset:
    """Make a data set of arrays, whose labels are below ``num_classes``, or without gaps up to the largest."""
    source, classes, notes = read
    if source.labels is not None:
        least, largest = int(source.labels.min()), int(source.labels.max())
        num_classes = len(classes) or None if num_classes is None else num_classes
        if least < 0 or (num_classes is not None and largest >= num_classes):
            below = "at least 0" if num_classes is None else f"in 0..{num_classes - 1}"
            raise ValueError(f"{source.name}: labels must be {below}, got {least}..{largest}")
        if num_classes is None:
            num_classes = largest + 1
            _check_no_gap(source)
    elif num_classes is not None:
        raise ValueError(f"{source.name}: num_classes must be None where there are no labels, got {num_classes}")
    augmentation = augmentation or Augmentation()
    return Dataset(name, source, source.x.shape[1:], num_classes, augmentation, classes=classes, notes=notes)


def _check_no_gap(source: ArraySource) -> None:
    """Raise a ValueError if a class up to the largest label has no example."""
    assert source.labels is not None
    present = np.unique(source.labels)
    least, largest = int(present[0]), int(present[-1])
    if len(present) == largest + 1:
        return
    empty = next(label for label, found in enumerate([*present.tolist(), None]) if label != found)
    shift = f"data.first_label={least} counts from {least}, " if least else ""
    raise ValueError(
        f"{source.name}: labels must be each of 0..{largest}, got {least}..{largest} and none of {empty}; "
        f"{shift}data.num_classes={largest + 1} keeps classes without examples"
    )


def _arrays(config: Arrays, empty_classes: bool) -> Dataset:
    if config.path.suffix.lower() == ".npz":
        read = read_npz(config.path, config.x_key, config.labels_key, config.value_range, config.layout, config.split)
    elif config.split is not None:
        raise ValueError(f"{config.path}: split must be null, since an npy file has no parts, got {config.split}")
    else:
        read = read_npy(config.path, config.labels, config.value_range, config.layout)
    source, named, _ = read
    if named and config.classes is not None:
        source = dataclasses.replace(source, labels=_renumbered(source, named, config.classes))
    elif config.first_label is not None and source.labels is not None:
        source = dataclasses.replace(source, labels=source.labels.astype(np.int64) - config.first_label)
    read = read._replace(source=source, classes=config.classes or named)
    return _labeled(config.path.stem, read, _classes(config, source, empty_classes), config.augmentation)


def _renumbered(source: ArraySource, named: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    """Renumber labels whose classes are named in the file to the order of ``classes``."""
    assert source.labels is not None
    indices = {normal(name): label for label, name in enumerate(classes)}
    unknown = [name for name in named if name not in indices]
    if unknown:
        raise ValueError(f"{source.name}: labels must be of classes {', '.join(classes)}, got {unknown[0]}")
    labels: np.ndarray = np.array([indices[name] for name in named])[source.labels]
    return labels


def _folder(config: ImageFolder) -> Dataset:
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    source = ImageFolderSource(
        config.path,
        Form(config.mode, size, config.background, config.value_range),
        config.extensions,
        flat=config.flat,
        split=config.split,
        classes=config.classes,
    )
    if source.broken and config.corrupt == "refuse":
        why = "the link leads nowhere" + (f", as {len(source.broken):,} do" if len(source.broken) > 1 else "")
        raise UnreadableError(str(source.folder / source.broken[0]), why)
    left_out = (f"left out: {listed(source.left_out)}",) if source.left_out else ()
    return Dataset(
        config.path.absolute().name,
        source,
        source.shape,
        len(source.classes) or None,
        config.augmentation,
        skip_unreadable=config.corrupt == "skip",
        classes=source.classes,
        notes=(*source.notes, *left_out),
    )
