"""What examples are read from: anything with a length and random access, as `grain` has it."""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Integer

ROUNDING: Final = 1e-5
"""By how much images may leave [-1, 1]."""

STANDARD: Final = (-1.0, 1.0)
"""The range of floats, where no other is stated."""

Values = Bool[np.ndarray, "*d"] | Integer[np.ndarray, "*d"] | Float[np.ndarray, "*d"]

Example = tuple[np.ndarray, int]
"""One sample, ``uint8`` in 0..255, a float, or booleans, and its label."""


@runtime_checkable
class Source(Protocol):
    """What `grain` calls a random-access data source, of ``(x, label)``: its own sources and ``MapDataset`` are some.

    Reading one example twice gives the same; all have one shape. A label is 0 where there are none.
    """

    def __len__(self) -> int:
        """How many examples there are."""
        ...

    def __getitem__(self, index: int, /) -> Example:
        """The example at ``index``.

        Raises:
            UnreadableError: if it can't be read; a dataset may skip it.
        """
        ...


class DataError(ValueError):
    """What was read for a batch is not what its data set may hold."""


class UnreadableError(DataError):
    """One example of a source can't be read.

    Args:
        name: of the example, such as the path of its file.
        why: what is wrong with it.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} can't be read: {why}")
        self.name = name
        self.why = why

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.why)


def is_sample(x: np.ndarray) -> bool:
    """Whether ``x`` has a type that samples may have: uint8, a float, or bool."""
    return x.dtype in (np.uint8, np.bool_) or np.issubdtype(x.dtype, np.floating)


def to_unit(x: Values, value_range: tuple[float, float] = STANDARD) -> Float32[np.ndarray, "*d"]:
    """``x`` as float32 on the scale of [-1, 1], to which ``value_range`` is mapped.

    Where that is (-1, 1), floats stay as they are, 0..255 is mapped of uint8, and False and True of booleans.
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
    """Examples in one array, in memory or mapped to it.

    Attributes:
        x: ``(n, *shape)``, uint8 in 0..255, float, bool, or integers in ``value_range``, n at least 1.
        labels: ``(n,)``, None where there are none.
        name: for messages: where the array comes from.
        value_range: what is mapped to -1 and to 1; see ``to_unit``.

    Raises:
        ValueError: if there are no examples, not as many labels, or a float that is not finite in memory; of mapped
            arrays that is told of what is read.
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
        """The examples at ``indices``, all at once."""
        x = to_unit(np.asarray(self.x[indices]), self.value_range)
        return x, np.zeros(len(x), np.int32) if self.labels is None else self.labels[indices].astype(np.int32)

    def __reduce__(self) -> tuple[object, ...]:
        x = _Mapped.of(self.x) if isinstance(self.x, np.memmap) and self.x.filename else self.x
        return _restored, (x, self.labels, self.name, self.value_range)


@dataclass(frozen=True)
class _Mapped:
    """The message to a process in place of a mapped file's content: where in the file the array lies."""

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
        """The array, mapped."""
        content = np.memmap(self.path, np.uint8, "r")
        first = content[self.position : self.position + self.dtype.itemsize].view(self.dtype)
        return np.lib.stride_tricks.as_strided(first, self.shape, self.strides, subok=True, writeable=False)


def _restored(
    x: np.ndarray | _Mapped, labels: np.ndarray | None, name: str, value_range: tuple[float, float]
) -> ArraySource:
    return ArraySource(x.open() if isinstance(x, _Mapped) else x, labels, name, value_range)
