import numpy as np
import pytest

from artifex.training import LabeledImages, digits
from artifex.training.evaluation.memorization import memorization
from artifex.training.evaluation.recognition import recognize, spread_ratio

REAL = digits()


def points(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1, 1, 1, 1)


@pytest.mark.slow
def test_real_digits_are_recognized_and_wrong_labels_are_not() -> None:
    ours = REAL.labels[:200].copy()
    right = recognize(REAL.images[:200], ours, REAL)
    assert right.share >= 0.98
    assert 0.97 <= right.held_out < 1
    ours[:50] = (ours[:50] + 1) % 10
    assert right.share - 0.25 - 0.01 <= recognize(REAL.images[:200], ours, REAL).share <= right.share - 0.25 + 0.01


@pytest.mark.slow
def test_the_held_out_accuracy_is_that_of_unseen_images() -> None:
    """With random labels it is chance, however well the classifier fits its training data."""
    nonsense = np.random.default_rng(0).permutation(REAL.labels)
    found = recognize(REAL.images[:50], nonsense[:50], LabeledImages(REAL.images, nonsense))
    assert found.held_out < 0.2


def test_the_spread_of_the_real_digits_is_their_own() -> None:
    assert spread_ratio(REAL.images, REAL.labels, REAL) == 1


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_the_spread_grows_with_the_distance_from_the_class_mean(scale: float) -> None:
    means = np.stack([REAL.images[REAL.labels == label].mean(0) for label in range(10)])[REAL.labels]
    scaled = means + scale * (REAL.images - means)
    assert np.isclose(spread_ratio(scaled.astype(np.float32), REAL.labels, REAL), scale, atol=1e-5)


def test_the_spread_is_within_classes_and_not_between_them() -> None:
    real = LabeledImages(points(0, 2, 10, 14), np.array([0, 0, 1, 1], np.int32))
    # standard deviations (2 and 1) against (1 and 2), both over the square root of 2
    assert np.isclose(spread_ratio(points(0, 4, 50, 52), real.labels, real), 1)
    assert np.isclose(spread_ratio(points(0, 4), np.array([0, 0], np.int32), real), 2)
    few_and_many = spread_ratio(
        points(0, 4), np.zeros(2, np.int32), LabeledImages(points(0, 0, 4, 4), np.zeros(4, np.int32))
    )
    assert np.isclose(few_and_many, np.sqrt(8 / (16 / 3)))
    with pytest.raises(ValueError, match="class 1 must have at least two images, got 1"):
        spread_ratio(points(0, 1, 2), np.array([0, 0, 1], np.int32), real)


@pytest.mark.slow
def test_copies_are_found_and_strangers_are_not() -> None:
    assert memorization(REAL.images[:300], REAL.images).share == 1
    assert memorization(REAL.images[:300], REAL.images).nearest == 0
    noise = np.random.default_rng(0).uniform(-1, 1, (300, 8, 8, 1)).astype(np.float32)
    assert memorization(noise, REAL.images).share == 0


def test_unseen_real_digits_lie_as_near_as_the_percentile_says() -> None:
    """Half of the real digits, measured against the other half, cannot be copies."""
    found = memorization(REAL.images[::2], REAL.images[1::2])
    assert found.share < 0.03
    assert abs(found.nearest / found.nearest_real - 1) < 0.05


def test_distances_on_a_line_are_those_of_the_pencil() -> None:
    # nearest other points: 1, 1, 2, 4
    found = memorization(points(0.5, 5), points(0, 1, 3, 7), percentile=50)
    assert (found.share, found.threshold, found.nearest, found.nearest_real) == (0.5, 1.5, 1.25, 2)
