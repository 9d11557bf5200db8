"""Examples in npz and npy files."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from artifex.training.data.classes import encoded
from artifex.training.data.keys import AUTO, examples_key, labels_key
from artifex.training.data.layout import Layout, channels_last, stated_range
from artifex.training.data.source import ArraySource
from artifex.training.data.splits import Part

T = TypeVar("T")


class Read(NamedTuple):
    """The content of a file.

    Attributes:
        source: the examples.
        classes: names of the labels, if the file has them.
        notes: lines for the user.
    """

    source: ArraySource
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_npz(
    path: Path,
    x_key: str | None = None,
    y_key: str | None = AUTO,
    value_range: tuple[float, float] | None = None,
    layout: Layout | None = None,
    part: Part | None = None,
) -> Read:
    """Read arrays of an npz file into memory.

    Args:
        path: of the file.
        x_key: name of the examples; None finds it, see ``examples_key``.
        y_key: name of the labels; ``"auto"`` finds it, see ``labels_key``, and None is no labels.
        value_range: the values that are mapped to -1 and 1; None is the default of the dtype, see ``stated_range``.
        layout: of the axes, see ``channels_last``.
        part: of the data, if the file holds several.

    Raises:
        ValueError: if the file has no arrays of these names, or they are not examples and their labels.
    """
    keys = _from_npz(path, lambda content: list(content.files))
    x_name = examples_key(keys, part, path) if x_key is None else x_key
    y_name = labels_key(keys, x_name, path) if y_key == AUTO else y_key
    wanted = [key for key in (x_name, y_name) if key is not None]
    if not set(wanted) <= set(keys):
        raise ValueError(f"{path} must hold {' and '.join(wanted)}, got {', '.join(keys) or 'nothing'}")
    arrays = _from_npz(path, lambda content: [content[key] for key in wanted])
    read = _read(path, arrays[0], arrays[1] if len(arrays) == 2 else None, value_range, layout)
    left = [key for key in keys if key not in wanted]
    notes = (f"arrays {' and '.join(wanted)}; left out: {', '.join(left)}",) if left else ()
    return read._replace(notes=notes)


def read_npy(
    path: Path,
    labels: Path | None = None,
    value_range: tuple[float, float] | None = None,
    layout: Layout | None = None,
) -> Read:
    """Map the array of an npy file, so that only the examples of a batch are read; labels are in another file.

    Raises:
        ValueError: if the files are corrupt, or not examples and their labels.
    """
    return _read(path, _npy(path, mapped=True), None if labels is None else _npy(labels), value_range, layout)


def _from_npz(path: Path, get: Callable[[np.lib.npyio.NpzFile], T]) -> T:
    with path.open("rb") as file:
        try:
            with np.lib.npyio.NpzFile(file) as content:
                return get(content)
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            advice = "; x.astype(str) or x.astype(int) can be stored" if "Object arrays" in str(error) else ""
            raise ValueError(f"{path} must be a whole npz file of numbers: {error}{advice}") from error


def _npy(path: Path, mapped: bool = False) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if mapped else None)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} must be a whole npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} must be a whole npy file of numbers, got an npz file; name it so")
    return array


def _read(
    path: Path,
    x: np.ndarray,
    labels: np.ndarray | None,
    value_range: tuple[float, float] | None,
    layout: Layout | None,
) -> Read:
    name = str(path)
    if x.ndim < 2:
        raise ValueError(f"{path} must hold examples (n, ...) of uint8 or a float, got {x.shape} of {x.dtype}")
    x = channels_last(x, layout, name)
    y, classes = (None, ()) if labels is None else encoded(labels, name)
    return Read(ArraySource(x, y, name, stated_range(x, value_range, name)), classes)
