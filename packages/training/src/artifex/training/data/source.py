"""What examples are read from: anything with a length and random access, as `grain` has it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int32, Integer, UInt8

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


class UnreadableError(ValueError):
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


def to_unit(
    x: UInt8[np.ndarray, "*d"] | Float[np.ndarray, "*d"], value_range: tuple[float, float] = (-1.0, 1.0)
) -> Float32[np.ndarray, "*d"]:
    """``x`` as float32 on the scale of [-1, 1], to which 0..255 is mapped, or a float's ``value_range``."""
    if x.dtype == np.uint8:
        return x * np.float32(2 / 255) - np.float32(1)
    low, high = value_range
    if (low, high) == (-1, 1):
        return x.astype(np.float32)
    return ((x - low) * (2 / (high - low)) - 1).astype(np.float32)


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
        if not isinstance(self.x, np.memmap):
            self.check(self.x, np.arange(len(self.x)))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int, /) -> Example:
        x, labels = self.take(np.array([index]))
        return x[0], int(labels[0])

    def take(self, index: Integer[np.ndarray, " b"]) -> tuple[Float32[np.ndarray, "b *d"], Int32[np.ndarray, " b"]]:
        """The examples at ``index``, all at once."""
        x = np.asarray(self.x[index])
        if isinstance(self.x, np.memmap):
            self.check(x, index)
        labels = np.zeros(len(index), np.int32) if self.labels is None else self.labels[index].astype(np.int32)
        return to_unit(x, self.value_range), labels

    def check(self, x: np.ndarray, index: Integer[np.ndarray, " b"]) -> None:
        """Raise a ValueError if ``x``, examples ``index``, is not finite, or an image outside ``value_range``."""
        if x.dtype == np.uint8:
            return
        flat = x.reshape(len(x), -1)
        finite = np.isfinite(flat).all(axis=1)
        if not finite.all():
            raise ValueError(f"{self.name}: values must be finite, got NaN or inf in example {index[~finite][0]}")
        low, high = self.value_range
        if x.ndim == 4 and (flat.min() < low or flat.max() > high):
            raise ValueError(
                f"{self.name}: images of floats must lie in [{low:g}, {high:g}], got [{flat.min():g}, {flat.max():g}]; "
                "set value_range to theirs"
            )

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
