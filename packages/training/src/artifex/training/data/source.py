"""Sources of examples: anything with a length and random access, as in `grain`."""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Integer

ROUNDING: Final = 1e-5
"""Tolerance of the range [-1, 1] of images."""

STANDARD: Final = (-1.0, 1.0)
"""The default range of floats."""

Values = Bool[np.ndarray, "*d"] | Integer[np.ndarray, "*d"] | Float[np.ndarray, "*d"]

Example = tuple[np.ndarray, int]
"""One sample, ``uint8`` in 0..255, a float, or booleans, and its label."""


@runtime_checkable
class Source(Protocol):
    """A random-access data source of ``(x, label)``, such as `grain`'s sources and ``MapDataset``.

    Reads are reproducible, and all examples have one shape. Without labels, the label is 0.
    """

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def __getitem__(self, index: int, /) -> Example:
        """Read the example at ``index``.

        Raises:
            UnreadableError: if it can't be read; a dataset may skip it.
        """
        ...


class DataError(ValueError):
    """An example that was read for a batch is invalid."""


class UnreadableError(DataError):
    """One example of a source can't be read.

    Args:
        name: of the example, such as the path of its file.
        why: the reason.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} can't be read: {why}")
        self.name = name
        self.why = why

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.why)


def is_sample(x: np.ndarray) -> bool:
    """Return True if ``x`` has a dtype of samples: uint8, a float, or bool."""
    return x.dtype in (np.uint8, np.bool_) or np.issubdtype(x.dtype, np.floating)


def to_unit(x: Values, value_range: tuple[float, float] = STANDARD) -> Float32[np.ndarray, "*d"]:
    """Convert ``x`` to float32, with ``value_range`` mapped to [-1, 1].

    If that is (-1, 1), floats are unchanged, and 0..255 of uint8 and False and True of booleans are mapped to it.
    """
    if x.dtype == np.bool_:
        return x * np.float32(2) - np.float32(1)
    if x.dtype == np.uint8 and value_range == STANDARD:
        return x / np.float32(127.5) - np.float32(1)
    low, high = value_range
    if x.dtype.kind in "iu":
        return ((x.astype(np.float64) - low) * (2 / (high - low)) - 1).astype(np.float32)
    x = x.astype(np.float32, copy=False)
    return x if value_range == STANDARD else (x - np.float32(low)) * np.float32(2 / (high - low)) - np.float32(1)


def check_unit(x: Float32[np.ndarray, "b *d"], name: str, indices: Integer[np.ndarray, " b"]) -> None:
    """Raise a DataError if ``x``, examples ``indices`` of ``name``, is not finite, or images outside [-1, 1]."""
    low, high = float(x.min()), float(x.max())
    if not np.isfinite(low + high):
        finite = np.isfinite(x.reshape(len(x), -1)).all(axis=1)
        raise DataError(f"{name}: values must be finite, got NaN or inf in example {indices[~finite][0]}")
    if x.ndim == 4 and (low < -1 - ROUNDING or high > 1 + ROUNDING):
        raise DataError(f"{name}: images must lie in [-1, 1] once value_range is mapped to it, got [{low:g}, {high:g}]")


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Examples in one array, in memory or memory-mapped.

    Attributes:
        x: ``(n, *shape)``, uint8 in 0..255, float, bool, or integers in ``value_range``, n at least 1.
        labels: ``(n,)``, None without labels.
        name: of the array's origin, for messages.
        value_range: the values that are mapped to -1 and 1; see ``to_unit``.

    Raises:
        ValueError: if there are no examples, another number of labels, or values that are not finite; mapped arrays are
            checked when they are read.
    """

    x: Values
    labels: Integer[np.ndarray, "..."] | None = None
    name: str = "array"
    value_range: tuple[float, float] = STANDARD

    def __post_init__(self) -> None:
        if len(self.x) == 0 or (self.labels is not None and self.labels.shape != self.x.shape[:1]):
            labels = "no labels" if self.labels is None else f"labels {self.labels.shape}"
            raise ValueError(
                f"{self.name}: examples and labels must be as many and at least 1, got {self.x.shape} and {labels}"
            )
        if self.x.dtype.kind in "iu" and self.x.dtype != np.uint8 and self.value_range == STANDARD:
            raise ValueError(f"{self.name}: integers must be uint8, or in a value_range, got {self.x.dtype}")
        if min(self.x.shape) == 0:
            raise ValueError(f"{self.name}: examples must not be empty, got {self.x.shape}")
        plain = self.x.dtype in (np.uint8, np.bool_) and self.value_range == STANDARD
        if not plain and not isinstance(self.x, np.memmap):
            check_unit(to_unit(self.x, self.value_range), self.name, np.arange(len(self.x)))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int, /) -> Example:
        x, labels = self.take(np.array([index]))
        return x[0], int(labels[0])

    def take(self, indices: Integer[np.ndarray, " b"]) -> tuple[Float32[np.ndarray, "b *d"], Int32[np.ndarray, " b"]]:
        """Read the examples at ``indices``."""
        x = to_unit(np.asarray(self.x[indices]), self.value_range)
        return x, np.zeros(len(x), np.int32) if self.labels is None else self.labels[indices].astype(np.int32)

    def __reduce__(self) -> tuple[object, ...]:
        x = _Mapped.of(self.x) if isinstance(self.x, np.memmap) and self.x.filename else self.x
        return _restored, (x, self.labels, self.name, self.value_range)


@dataclass(frozen=True)
class _Mapped:
    """A pickle of a mapped array: its position in the file instead of its content."""

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    position: int

    @classmethod
    def of(cls, x: np.memmap) -> "_Mapped":
        assert x.filename is not None
        start = x.offset - x.offset % mmap.ALLOCATIONGRANULARITY
        position = x.ctypes.data - np.frombuffer(x._mmap, np.uint8).ctypes.data + start  # type: ignore[attr-defined]
        return cls(Path(x.filename), x.dtype, x.shape, x.strides, position)

    def open(self) -> np.ndarray:
        """Map the array."""
        content = np.memmap(self.path, np.uint8, "r")
        first = content[self.position : self.position + self.dtype.itemsize].view(self.dtype)
        return np.lib.stride_tricks.as_strided(first, self.shape, self.strides, subok=True, writeable=False)


def _restored(
    x: np.ndarray | _Mapped, labels: np.ndarray | None, name: str, value_range: tuple[float, float]
) -> ArraySource:
    return ArraySource(x.open() if isinstance(x, _Mapped) else x, labels, name, value_range)
