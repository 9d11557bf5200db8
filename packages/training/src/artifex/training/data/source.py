"""What examples are read from: anything with a length and random access, as `grain` has it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int32, Integer, UInt8

_ROUNDING: Final = 1e-5

Example = tuple[np.ndarray, int]
"""One sample, ``uint8`` in 0..255 or a float, and its label."""


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
    """Whether ``x`` has a type that samples may have: uint8 or a float."""
    return x.dtype == np.uint8 or np.issubdtype(x.dtype, np.floating)


def to_unit(
    x: UInt8[np.ndarray, "*d"] | Float[np.ndarray, "*d"], value_range: tuple[float, float] = (-1.0, 1.0)
) -> Float32[np.ndarray, "*d"]:
    """``x`` as float32 on the scale of [-1, 1], to which 0..255 is mapped, or a float's ``value_range``."""
    if x.dtype == np.uint8:
        return x / np.float32(127.5) - np.float32(1)
    low, high = value_range
    x = x.astype(np.float32, copy=False)
    return x if (low, high) == (-1, 1) else (x - np.float32(low)) * np.float32(2 / (high - low)) - np.float32(1)


def check_unit(x: Float32[np.ndarray, "b *d"], name: str, indices: Integer[np.ndarray, " b"]) -> None:
    """Raise a DataError if ``x``, examples ``indices`` of ``name``, is not finite, or images outside [-1, 1]."""
    low, high = float(x.min()), float(x.max())
    if not np.isfinite(low + high):
        finite = np.isfinite(x.reshape(len(x), -1)).all(axis=1)
        raise DataError(f"{name}: values must be finite, got NaN or inf in example {indices[~finite][0]}")
    if x.ndim == 4 and (low < -1 - _ROUNDING or high > 1 + _ROUNDING):
        raise DataError(f"{name}: images must lie in [-1, 1] once value_range is mapped to it, got [{low:g}, {high:g}]")


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Examples in one array, in memory or mapped to it.

    Attributes:
        x: ``(n, *shape)``, uint8 in 0..255 or float, n at least 1.
        labels: ``(n,)``, None where there are none.
        name: for messages: where the array comes from.
        value_range: what is mapped to -1 and to 1 where ``x`` is a float.

    Raises:
        ValueError: if there are no examples, not as many labels, or a float that is not finite in memory; of mapped
            arrays that is told of what is read.
    """

    x: UInt8[np.ndarray, "n *d"] | Float[np.ndarray, "n *d"]
    labels: Integer[np.ndarray, "..."] | None = None
    name: str = "array"
    value_range: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.x) == 0 or (self.labels is not None and self.labels.shape != self.x.shape[:1]):
            labels = "no labels" if self.labels is None else f"labels {self.labels.shape}"
            raise ValueError(
                f"{self.name}: examples and labels must be as many and at least 1, got {self.x.shape} and {labels}"
            )
        if self.x.dtype != np.uint8 and not isinstance(self.x, np.memmap):
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
        x = _Mapped(Path(self.x.filename)) if isinstance(self.x, np.memmap) and self.x.filename else self.x
        return _restored, (x, self.labels, self.name, self.value_range)


@dataclass(frozen=True)
class _Mapped:
    """What a process is sent in place of a mapped file's content."""

    path: Path


def _restored(
    x: np.ndarray | _Mapped, labels: np.ndarray | None, name: str, value_range: tuple[float, float]
) -> ArraySource:
    array: np.ndarray = np.load(x.path, mmap_mode="r") if isinstance(x, _Mapped) else x
    return ArraySource(array, labels, name, value_range)
