"""Tables of probabilities whose score is known."""

import numpy as np
import pytest

from artifex.training.evaluation import Features, Score, inception_score


def score(table: np.ndarray, splits: int = 1) -> Score:
    return inception_score(Features.of("f", np.zeros((len(table), 1)), table), splits=splits)


def test_sure_and_even_unsure_and_one_class() -> None:
    sure = np.eye(5)[np.arange(100) % 5]
    assert score(sure).value == pytest.approx(5)
    assert score(np.full((100, 5), 0.2)).value == pytest.approx(1)
    assert score(np.eye(5)[np.zeros(100, int)]).value == pytest.approx(1)
    # half of the samples of one class, a quarter of each of two others: the entropy is 1.5 ln 2
    assert score(np.eye(5)[np.arange(100) % 4 % 3]).value == pytest.approx(2**1.5)
    # KL of (0.9, 0.1) from (0.5, 0.5)
    table = np.array([[0.9, 0.1], [0.1, 0.9]] * 10)
    assert score(table).value == pytest.approx(np.exp(0.9 * np.log(1.8) + 0.1 * np.log(0.2)))


def test_splits_are_of_shuffled_samples() -> None:
    found = score(np.eye(2)[np.arange(1000) // 500], splits=10)
    assert 1.9 < found.value < 2
    assert found.error is not None
    assert 0 < found.error < 0.02
    assert str(found).endswith("(f; 1,000 generated; splits = 10)")


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="must be at least 0 and sum to 1 in each row, got the sum 1"):
        score(np.array([[0.5, 0.5], [0.5, 0.6]]))
    with pytest.raises(ValueError, match="splits = 3 needs at least 6 samples, got 4"):
        score(np.full((4, 2), 0.5), splits=3)
    with pytest.raises(ValueError, match="features must come with class probabilities, got none from f"):
        inception_score(Features.of("f", np.zeros((4, 1))))
