"""Examples in NumPy's own files."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from artifex.training.data.source import ArraySource, is_sample


def read_npz(path: Path, x_key: str, labels_key: str | None, value_range: tuple[float, float]) -> ArraySource:
    """Arrays of an npz file, read into memory.

    Args:
        path: of the file.
        x_key: name of the examples.
        labels_key: name of the labels; None where there are none.
        value_range: what is mapped to -1 and 1 where examples are floats.

    Raises:
        ValueError: if the file holds no arrays of these names, or other ones than examples and their labels.
    """
    keys = [key for key in (x_key, labels_key) if key is not None]
    with path.open("rb") as file:
        try:
            with np.lib.npyio.NpzFile(file) as content:
                missing = [key for key in keys if key not in content]
                if missing:
                    raise KeyError(", ".join(content.files) or "nothing")
                arrays = [content[key] for key in keys]
        except KeyError as error:
            raise ValueError(f"{path} must hold {' and '.join(keys)}, got {error.args[0]}") from None
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} must be a whole npz file of numbers: {error}") from error
    return _source(path, arrays[0], arrays[1] if len(arrays) == 2 else None, value_range)


def read_npy(path: Path, labels: Path | None, value_range: tuple[float, float]) -> ArraySource:
    """The array of an npy file, of which only what a batch asks for is read; labels are another file's.

    Raises:
        ValueError: if the files are not whole, or not examples and their labels.
    """
    return _source(path, _npy(path, mapped=True), None if labels is None else _npy(labels), value_range)


def _npy(path: Path, mapped: bool = False) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if mapped else None)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} must be a whole npy file of numbers: {error}") from error
    return array


def _source(path: Path, x: np.ndarray, labels: np.ndarray | None, value_range: tuple[float, float]) -> ArraySource:
    if x.ndim < 2 or not is_sample(x):
        raise ValueError(f"{path} must hold examples (n, ...) of uint8 or a float, got {x.shape} of {x.dtype}")
    if labels is not None and not (labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)):
        raise ValueError(f"{path}: labels must be integers (n,), got {labels.shape} of {labels.dtype}")
    return ArraySource(x, labels, str(path), value_range)
