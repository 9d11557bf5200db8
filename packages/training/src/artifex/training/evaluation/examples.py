"""The examples of a data set, once each, without augmentation."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from artifex.kernels.ranges import check_whole
from artifex.training.data import Augmentation, Batch, Dataset


def examples(data: Dataset, size: int = 256, count: int | None = None) -> Iterator[Batch]:
    """Yield batches of up to ``size`` in one shuffled order, without augmentation.

    Args:
        data: the data set.
        size: of a batch, at least 1; the last one may be smaller.
        count: largest number of examples; None is all.
    """
    check_whole("size", size, 1)
    if count is not None:
        check_whole("count", count, 1)
    left = len(data) if count is None else min(count, len(data))
    # The first len(data) examples of the endless stream are a permutation.
    batches = dataclasses.replace(data, augmentation=Augmentation()).batches(size, seed=0)
    try:
        while left:
            batch = next(batches)
            yield Batch(batch.x[:left], batch.labels[:left])
            left -= min(left, size)
    finally:
        batches.close()


def in_memory(data: Dataset, count: int) -> Batch:
    """Return up to ``count`` examples in one batch."""
    x, labels = zip(*examples(data, count=count), strict=True)
    return Batch(np.concatenate(x), np.concatenate(labels))
