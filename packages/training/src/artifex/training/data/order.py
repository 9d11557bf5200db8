"""The order of examples: an endless stream of shuffled epochs, a function of seed and position alone."""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64, Int, UInt64

_DRAWS: Final = 2**63
"""Counter of a Philox stream at which the words of ``draws`` begin: far after those of an epoch's order."""


class Rows(NamedTuple):
    """Part of the stream.

    Attributes:
        indices: of the examples.
        epochs: of the examples, from 0.
    """

    indices: Int[np.ndarray, " b"]
    epochs: Int[np.ndarray, " b"]


def rows(n: int, seed: int, start: int, stop: int) -> Rows:
    """Return the examples at the positions ``start`` to ``stop`` of the stream.

    Every ``n`` positions of it, counted from the first, are a permutation.

    Args:
        n: number of examples, at least 1.
        seed: in [0, 2^64).
        start: at least 0.
        stop: above ``start``.
    """
    epochs = np.arange(start, stop) // n
    first, last = int(epochs[0]), int(epochs[-1])
    stream = np.concatenate([_permutation(n, seed, e) for e in range(first, last + 1)])
    return Rows(stream[start - first * n : stop - first * n], epochs)


def batch_indices(n: int, size: int, seed: int, step: int) -> Int[np.ndarray, " size"]:
    """Return the indices, of ``n`` examples, of the batch of ``step``.

    The batches are one stream of shuffled epochs: every ``n`` examples of it, counted from the first, are a
    permutation. Nothing is dropped if ``size`` does not divide ``n``, and there is no state: a resumed run gets the
    batches of an uninterrupted one.

    Args:
        n: number of examples, at least 1.
        size: examples a batch, at least 1; may exceed ``n``.
        seed: in [0, 2^64).
        step: counted from 0.

    Raises:
        ValueError: for values outside those ranges.
    """
    if n < 1 or size < 1 or step < 0 or not 0 <= seed < 2**64:
        raise ValueError(
            "n and size must be at least 1, step at least 0 and seed in [0, 2^64), "
            f"got n = {n}, size = {size}, step = {step} and seed = {seed}"
        )
    return rows(n, seed, step * size, (step + 1) * size).indices


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """Compute the order of an epoch: ranks of raw Philox words, whose stream NumPy guarantees not to change."""
    order = np.argsort(_philox(seed, epoch).random_raw(n), kind="stable")
    order.setflags(write=False)
    return order


@lru_cache(maxsize=2)
def draws(n: int, seed: int, epoch: int, count: int) -> UInt64[np.ndarray, "n count"]:
    """Compute random words of an epoch, ``count`` for each example, independent of its order."""
    words = _philox(seed, epoch, _DRAWS).random_raw(n * count).reshape(n, count)
    words.setflags(write=False)
    return words


def uniform(seed: int, n: int, count: int) -> Float64[np.ndarray, "n count"]:
    """Compute uniform numbers in [0, 1), of 53 bits each."""
    words = _philox(seed, 0).random_raw(n * count).reshape(n, count)
    out: Float64[np.ndarray, "n count"] = (words >> np.uint64(11)) * 2.0**-53
    return out


def _philox(seed: int, stream: int, counter: int = 0) -> np.random.Philox:
    key = np.array([seed, stream], np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, 0, 0, counter], np.uint64))
