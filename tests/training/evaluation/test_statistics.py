"""Merged statistics against the whole set at once, in memory that stays flat."""

import tracemalloc
from functools import reduce

import numpy as np
import pytest

from artifex.training.evaluation import Extractor, Statistics, raw

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sizes", [(5,), (1, 4), (2, 1, 30, 7)])
def test_batches_merge_into_the_whole(sizes: tuple[int, ...]) -> None:
    """Far from the origin, where a sum of squares less a squared sum has no digits left."""
    rows = 1e7 + RNG.standard_normal((sum(sizes), 3))
    parts = [Statistics.of(part) for part in np.split(rows, np.cumsum(sizes)[:-1])]
    got = reduce(Statistics.merge, parts)
    assert got.count == len(rows)
    np.testing.assert_allclose(got.mean, rows.mean(0), rtol=1e-15)
    np.testing.assert_allclose(got.covariance, np.cov(rows.T), rtol=1e-7)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples() -> None:
    def peak(batches: int) -> int:
        rng = np.random.default_rng(0)
        tracemalloc.start()
        features = raw()((rng.random((64, 8, 8, 1), np.float32) for _ in range(batches)), keep=False)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert features.count == 64 * batches
        assert features.rows is None
        return used

    peak(2)
    assert peak(200) < 1.1 * peak(20)


def test_the_name_and_rows_come_through_and_filled_up_batches_are_cut() -> None:
    sizes: list[int] = []

    def sums(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(batch))
        return batch.sum((1, 2)), np.full((len(batch), 2), 0.5)

    samples = RNG.random((10, 3, 3, 2), np.float32)
    features = Extractor("sums", sums)(samples, batch_size=4)
    assert (features.extractor, features.count, features.width, sizes) == ("sums", 10, 2, [4, 4, 4])
    np.testing.assert_allclose(features.exact, samples.sum((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(features.statistics.mean, samples.sum((1, 2)).mean(0), rtol=1e-6)
    assert features.probabilities is not None
    assert features.probabilities.shape == (10, 2)


BAD = np.ones((4, 2), np.float32)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("function", "samples", "message"),
    [
        (lambda x: x * np.nan, BAD, "features of f must be finite, got NaN or inf in 4 of 4 rows"),
        (lambda x: x[0], BAD, r"features of f must have shape \(4, d\), got \(2,\)"),
        (lambda x: x[:2], BAD, r"features of f must have shape \(4, d\), got \(2, 2\)"),
        (lambda x: (x, x), BAD, "probabilities of f must be at least 0 and sum to 1 in each row, got the sum 2 and"),
        (lambda x: (x, x * [-1, 2]), BAD, "the sum 1 and the least -1 in row 0"),
        (lambda x: (x, x[:, :0]), BAD, r"must have shape \(4, c\), c at least 1, got \(4, 0\)"),
        (lambda x: (x, x * np.nan), BAD, "got the sum nan"),
        (lambda x: x, BAD * np.inf, "samples must be finite, got NaN or inf"),
        (lambda x: x, BAD[:0], "samples must be at least 1, got none"),
    ],
)
def test_what_are_no_features(function: object, samples: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Extractor("f", function)(samples)  # type: ignore[arg-type]


def test_samples_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"samples of f must have shape \(b, 8, 8, 1\) with b at least 1, got \(4, 2"):
        Extractor("f", np.asarray, (8, 8, 1))(BAD)


def test_one_sample_and_two_widths() -> None:
    with pytest.raises(ValueError, match="a covariance must be of at least 2 samples, got 1"):
        _ = Statistics.of(BAD[:1]).covariance
    with pytest.raises(ValueError, match="features must be of one width, got 2 and 1"):
        Statistics.of(BAD).merge(Statistics.of(BAD[:, :1]))
