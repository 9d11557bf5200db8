import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from artifex.training import LabeledImages, digits
from artifex.training.data import batch_indices


def test_digits_are_the_pixels_of_sklearn_between_minus_one_and_one() -> None:
    data = digits()
    raw, labels = load_digits(return_X_y=True)
    assert data.images.shape == (1797, 8, 8, 1)
    assert data.images.dtype == np.float32
    assert np.array_equal(data.images.reshape(1797, 64) * 8 + 8, raw)
    assert np.array_equal(data.labels, labels)
    assert (data.images.min(), data.images.max(), data.num_classes, len(data)) == (-1, 1, 10, 1797)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), size=st.integers(1, 90), seed=st.integers(0, 2**64 - 1), epochs=st.integers(1, 4))
def test_every_epoch_is_a_permutation(n: int, size: int, seed: int, epochs: int) -> None:
    steps = -(-epochs * n // size)
    stream = np.concatenate([batch_indices(n, size, seed, step) for step in range(steps)])
    assert len(stream) == steps * size
    for epoch in range(epochs):
        assert np.array_equal(np.sort(stream[epoch * n : (epoch + 1) * n]), np.arange(n))


def test_batches_depend_on_seed_and_step_alone() -> None:
    forward = [batch_indices(100, 7, 3, step) for step in range(40)]
    backward = [batch_indices(100, 7, 3, step) for step in reversed(range(40))]
    assert np.array_equal(forward, backward[::-1])
    first, second, third = (batch_indices(100, 100, seed, step) for seed, step in ((3, 0), (3, 1), (4, 0)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_a_batch_keeps_images_and_labels_together() -> None:
    data = digits()
    images, labels = data.batch(step=20, size=128, seed=0)
    indices = batch_indices(1797, 128, 0, 20)
    assert np.array_equal(images, data.images[indices])
    assert np.array_equal(labels, data.labels[indices])


@pytest.mark.parametrize(
    ("n", "size", "seed", "step"), [(0, 1, 0, 0), (1, 0, 0, 0), (1, 1, -1, 0), (1, 1, 2**64, 0), (1, 1, 0, -1)]
)
def test_impossible_batches_are_refused(n: int, size: int, seed: int, step: int) -> None:
    with pytest.raises(ValueError, match=r"at least 1.*got n = "):
        batch_indices(n, size, seed, step)


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (np.zeros((0, 2, 2, 1)), np.zeros(0), r"as many and at least 1, got \(0, 2, 2, 1\) and \(0,\)"),
        (np.zeros((3, 2, 2, 1)), np.zeros(2), r"as many and at least 1, got \(3, 2, 2, 1\) and \(2,\)"),
        (np.zeros((2, 2, 2, 1)), np.array([0, -1]), "labels must be at least 0, got -1"),
    ],
)
def test_images_without_their_labels_are_refused(images: np.ndarray, labels: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LabeledImages(images.astype(np.float32), labels.astype(np.int32))
