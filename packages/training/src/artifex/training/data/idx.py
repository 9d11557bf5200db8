"""The idx files of MNIST and similar data sets.

References: LeCun et al. 1998, http://yann.lecun.com/exdb/mnist/
"""

import gzip
import math
import re
import zlib
from glob import escape
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from jaxtyping import UInt8

from artifex.training.data.source import ArraySource

Split = Literal["train", "test"]

EMNIST: Final = MappingProxyType(
    {
        "balanced": digits + ascii_uppercase + "abdefghnqrt",
        "byclass": digits + ascii_uppercase + ascii_lowercase,
        "bymerge": digits + ascii_uppercase + "abdefghnqrt",
        "digits": digits,
        "letters": ascii_uppercase,
        "mnist": digits,
    }
)
"""The classes of EMNIST's sets, by the name in their file names; merged letters are capitals.

References: Cohen et al. 2017, https://arxiv.org/abs/1702.05373
"""
_NAMES: Final = {"train": ("train",), "test": ("t10k", "test")}
_UNSIGNED_BYTES: Final = 0x08


def read_mnist(
    folder: Path, split: Split, prefix: str = "", transpose: bool | None = None, first_label: int | None = None
) -> tuple[ArraySource, tuple[str, ...]]:
    """Read the images ``(h, w, 1)`` and labels of files ``*train-images*``, ``*t10k-labels*`` and so on.

    Args:
        folder: of the files.
        split: train or test.
        prefix: beginning of their names, if the folder holds several sets.
        transpose: swap rows and columns; None does so for EMNIST's sets, recognized by their file names, which are
            stored transposed.
        first_label: label of the first class in the file; None is 1 for EMNIST's letters, else 0.

    Returns:
        The examples, and the names of the classes for EMNIST's sets.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if there are several, they are truncated, or the numbers of images and labels differ.
    """
    images, labels = _find(folder, split, "images", prefix), _find(folder, split, "labels", prefix)
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if len(x) != len(y):
        raise ValueError(f"{images} and {labels} must hold as many images as labels, got {len(x)} and {len(y)}")
    emnist = re.match(r"emnist-([a-z]+)-", images.name)
    classes = "" if emnist is None else EMNIST.get(emnist[1], "")
    if classes if transpose is None else transpose:
        x = np.ascontiguousarray(x.transpose(0, 2, 1))
    if first_label is None:
        first_label = 1 if classes == EMNIST["letters"] else 0
    return ArraySource(x[..., None], y.astype(np.int32) - np.int32(first_label), str(images)), tuple(classes)


def read_idx(path: Path, ndim: int) -> UInt8[np.ndarray, "..."]:
    """Read the array of bytes in an idx file, which may be compressed by gzip.

    Args:
        path: of the file.
        ndim: required number of dimensions.

    Raises:
        ValueError: if the file is of another kind or truncated.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} must be a whole gzip file: {error}") from error
    expected = bytes([0, 0, _UNSIGNED_BYTES, ndim])
    if content[:4] != expected:
        raise ValueError(
            f"{path} must be an idx file of bytes in {ndim} dimensions, which starts with {expected.hex(' ')}, "
            f"got {content[:4].hex(' ') or 'an empty file'}"
        )
    start = 4 + 4 * ndim
    if len(content) < start:
        raise ValueError(f"{path} must begin with {start} bytes of shape, got {len(content)} bytes in all")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", ndim, 4))
    if len(content) - start != math.prod(shape):
        raise ValueError(f"{path} must hold {math.prod(shape)} bytes of {shape}, got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _find(folder: Path, split: Split, part: str, prefix: str) -> Path:
    """Find the file of a split; if it exists with and without ``.gz``, the latter."""
    patterns = [f"{escape(prefix)}*{name}-{part}*" for name in _NAMES[split]]
    found = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    plain = {str(path).removesuffix(".gz"): path for path in reversed(found)}
    if not plain:
        raise FileNotFoundError(f"{folder} must hold a file {' or '.join(patterns)}, got {listing(folder)}")
    if len(plain) > 1:
        raise ValueError(
            f"{folder} must hold one file {' or '.join(patterns)}, got {', '.join(sorted(plain))}; "
            "data.prefix chooses by the beginning of their names"
        )
    return next(iter(plain.values()))


def listing(folder: Path) -> str:
    """Describe the content of a folder, for messages."""
    if not folder.is_dir():
        return "a file" if folder.exists() else "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join([*names[:10], *(["..."] if len(names) > 10 else [])]) or "an empty folder"
