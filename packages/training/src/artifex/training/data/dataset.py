"""Data sets: a source of examples with a name, a shape and shuffled batches."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, SupportsInt, cast

import numpy as np

from artifex.training.data.augment import WORDS, Augmentation
from artifex.training.data.batches import Batch, Loaded, Stream
from artifex.training.data.order import draws, rows
from artifex.training.data.source import ArraySource, DataError, Source, UnreadableError, check_unit, is_sample, to_unit

LOOKED_AT: Final = 16
"""Number of examples of a source to check the scale of."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training examples; ``batches`` is an endless stream of shuffled epochs.

    Attributes:
        name: for the user, and to identify the data of a stream's state.
        source: the examples.
        shape: of one of them.
        num_classes: number of labels; None without labels.
        augmentation: random changes of the images.
        skip_unreadable: replace an unreadable example by the next readable one, and count it, instead of raising an
            UnreadableError.
        classes: names of the labels 0, 1, ...; empty if they have no names.
        notes: lines about the data, for the user.

    Raises:
        ValueError: if there are no examples, examples to augment are not images, or the numbers of names and classes
            differ.
    """

    name: str
    source: Source
    shape: tuple[int, ...]
    num_classes: int | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    skip_unreadable: bool = False
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.classes and len(self.classes) != self.num_classes:
            raise ValueError(
                f"{self.name}: classes must be as many names as classes, {self.num_classes}, got {len(self.classes)}"
            )
        if len(self) == 0:
            raise ValueError(f"{self.name} must hold at least one example, got none")
        if self.augmentation and len(self.shape) != 3:
            raise ValueError(f"only images (height, width, channels) are augmented, got examples of {self.shape}")

    @classmethod
    def from_source(
        cls,
        source: Source,
        *,
        name: str = "source",
        num_classes: int | None = None,
        augmentation: Augmentation | None = None,
        skip_unreadable: bool = False,
        classes: tuple[str, ...] = (),
    ) -> "Dataset":
        """Make a data set of any random-access source, whose shape is that of its first example.

        A warning is logged if the first images are all in [0, 1] instead of [-1, 1].

        Raises:
            ValueError: if there are no examples, they are not pairs, or look like images with channels first, which
                ``Dataset`` itself accepts.
        """
        shape: tuple[int, ...] = ()
        if len(source):
            example: object = source[0]
            if not (isinstance(example, tuple) and len(example) == 2):
                raise ValueError(f"a source must give (x, label), got {type(example).__name__}")
            shape = np.shape(example[0])
        if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] > 4:
            raise ValueError(f"{name}: images must be (height, width, channels), got {shape}, which is channels first")
        num_classes = (len(classes) or None) if num_classes is None else num_classes
        made = cls(name, source, shape, num_classes, augmentation or Augmentation(), skip_unreadable, classes)
        if len(shape) == 3 and _positive(source):
            note = "floats in [0, 1], where [-1, 1] is expected: 2 * x - 1 maps them to it"
            logging.getLogger(__name__).warning("%s holds %s", name, note)
            made = replace(made, notes=(note,))
        return made

    def __len__(self) -> int:
        return len(self.source)

    def batches(
        self,
        size: int,
        seed: int,
        *,
        workers: int = 0,
        shard: tuple[int, int] = (0, 1),
        accept_changed_data: bool = False,
    ) -> Stream:
        """Return an endless stream of batches: shuffled epochs in the order of ``batch_indices``.

        It depends on the data, ``size`` and ``seed`` alone. The state of batches of another size can be restored: the
        stream of examples continues. That of data with another number of examples, or another name, only with
        ``accept_changed_data``: with another number of examples the stream continues at the next beginning of an epoch.

        Args:
            size: examples a batch, of all hosts together.
            seed: of order and augmentation, in [0, 2^64).
            workers: number of processes that read and decode; 0 does it on demand, which is best for data in memory. A
                script with workers must be guarded by ``if __name__ == "__main__":``.
            shard: ``(i, n)`` is host i of n, which gets rows ``i * size / n`` to ``(i + 1) * size / n``.
            accept_changed_data: also restore states of data of another name or number of examples.

        Raises:
            ValueError: for values out of range, or a ``size`` that ``n`` does not divide.
        """
        index, count = shard
        if size < 1 or workers < 0 or not 0 <= seed < 2**64:
            raise ValueError(
                "size must be at least 1, workers at least 0 and seed in [0, 2^64), "
                f"got size = {size}, workers = {workers} and seed = {seed}"
            )
        if not 0 <= index < count or size % count:
            raise ValueError(f"shard must be (i, n) with 0 <= i < n and n a divisor of size = {size}, got {shard}")
        return Stream(_Loader(self, size, seed, shard, accept_changed=accept_changed_data), workers)


_STAY: Final[Mapping[str, str]] = {
    "seed": "the seed",
    "shape": "the shape of an example",
    "num_classes": "the number of classes",
    "classes": "the names of the classes",
    "data": "the name of the data",
    "examples": "the number of examples",
}
_OF_CHANGED_DATA: Final = ("data", "examples")


def _positive(source: Source) -> bool:
    """Return True if the first examples are floats in [0, 1]."""
    some = list[np.ndarray]()
    for i in range(min(len(source), LOOKED_AT)):
        with suppress(UnreadableError):  # unreadable examples are reported when they are used
            some.append(np.asarray(source[i][0]))
    if not some or not all(x.dtype.kind == "f" and x.size for x in some):
        return False
    return 0 <= min(float(x.min()) for x in some) < max(float(x.max()) for x in some) <= 1


@dataclass(frozen=True, eq=False)
class _Loader:
    """The loader of a data set; ``origin`` is a step and the position of its batch in the stream of examples."""

    data: Dataset
    size: int
    seed: int
    shard: tuple[int, int]
    origin: tuple[int, int] = (0, 0)
    accept_changed: bool = False

    def identity(self) -> dict[str, object]:
        data = self.data
        return {
            "data": data.name, "examples": len(data), "batch_size": self.size, "seed": self.seed,
            "shape": list(data.shape), "num_classes": data.num_classes, "classes": list(data.classes),
            "origin": list(self.origin),
        }  # fmt: skip

    def resumed(self, state: Mapping[str, object]) -> "_Loader":
        mine = self.identity()
        for name, meaning in _STAY.items():
            # A state of an earlier version has fewer entries.
            if name in state and state[name] != mine[name] and not (self.accept_changed and name in _OF_CHANGED_DATA):
                advice = (
                    "; changed data must be accepted: --accept-changed-data, in Python accept_changed_data=True"
                    if name in _OF_CHANGED_DATA
                    else ""
                )
                raise ValueError(
                    f"{meaning} must stay {state[name]!r} when a run is resumed, got {mine[name]!r}{advice}"
                )
        step, examples, size = (int(cast(SupportsInt, state[name])) for name in ("step", "examples", "batch_size"))
        first, position = cast(Sequence[int], state.get("origin", (0, 0)))
        now = position + (step - first) * size
        if examples != len(self.data):
            now = -(-now // len(self.data)) * len(self.data)
        elif size == self.size:
            return replace(self, origin=(first, position))
        return replace(self, origin=(step, now))

    def __call__(self, step: int) -> Loaded:
        data, seed, n, (index, count) = self.data, self.seed, len(self.data), self.shard
        share = self.size // count
        first, position = self.origin
        start = position + (step - first) * self.size + index * share
        order, epochs = rows(n, seed, start, start + share)
        skipped: tuple[str, ...] = ()
        if isinstance(data.source, ArraySource):
            x, labels = data.source.take(order)
        else:
            x, labels, skipped = self._read(order)
        check_unit(x, data.name, order)
        self._check_labels(labels, order)
        if data.augmentation:
            words = np.empty((share, WORDS), np.uint64)
            for epoch in np.unique(epochs):
                here = epochs == epoch
                words[here] = draws(n, seed, int(epoch), WORDS)[order[here]]
            x = data.augmentation(x, words)
        return Loaded(Batch(x, labels), skipped)

    def _read(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Read examples one by one."""
        data, skipped = self.data, list[str]()
        x = np.empty((len(order), *data.shape), np.float32)
        labels = np.empty(len(order), np.int32)
        for row, index in enumerate(order):
            example, labels[row] = self._readable(int(index), skipped)
            example = np.asarray(example)
            if example.shape != data.shape or not is_sample(example):
                raise DataError(
                    f"{data.name}: examples must be {data.shape} of uint8 or a float, "
                    f"got {example.shape} of {example.dtype} in example {index}"
                )
            x[row] = to_unit(example)
        return x, labels, tuple(skipped)

    def _readable(self, index: int, skipped: list[str]) -> tuple[np.ndarray, int]:
        """Read the example at ``index``, or the first readable one after it."""
        data = self.data
        for i in range(index, index + len(data)):
            try:
                return data.source[i % len(data)]
            except UnreadableError as error:
                if not data.skip_unreadable:
                    raise
                skipped.append(error.name)
        raise DataError(f"{data.name}: none of {len(data)} examples can be read; the last is {skipped[-1]}")

    def _check_labels(self, labels: np.ndarray, order: np.ndarray) -> None:
        classes = self.data.num_classes
        wrong = (labels < 0) | (labels >= (1 if classes is None else classes))
        if wrong.any():
            expected = "0 where there are no classes" if classes is None else f"in 0..{classes - 1}"
            raise DataError(
                f"{self.data.name}: labels must be {expected}, got {labels[wrong][0]} of example {order[wrong][0]}"
            )
