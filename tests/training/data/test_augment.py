import numpy as np
import pytest
from pydantic import ValidationError

from artifex.training.data import Augmentation, Dataset, Toy, open_dataset
from artifex.training.data.source import ArraySource

IMAGES = np.random.default_rng(0).uniform(-1, 1, (400, 4, 5, 2)).astype(np.float32)


def batches_of(augmentation: Augmentation, epochs: int = 1, seed: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    """Whole epochs, each image with the one it was made of."""
    data = Dataset("images", ArraySource(IMAGES, np.arange(400)), (4, 5, 2), 400, augmentation)
    batches = data.batches(400, seed)
    return [(batch.x, IMAGES[batch.labels]) for batch in (next(batches) for _ in range(epochs))]


def test_half_of_the_images_are_mirrored_left_to_right() -> None:
    ((x, before),) = batches_of(Augmentation(flip=True))
    kept, mirrored = ((x == y).all(axis=(1, 2, 3)) for y in (before, before[:, :, ::-1]))
    assert np.all(kept ^ mirrored)
    assert 150 < mirrored.sum() < 250


@pytest.mark.slow
def test_images_are_shifted_evenly_and_their_border_repeated() -> None:
    ((x, before),) = batches_of(Augmentation(shift=1))
    offsets = []
    for image, old in zip(x, before, strict=True):
        rows, columns = np.arange(4), np.arange(5)
        fits = [
            (dy, dx)
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if np.array_equal(image, old[np.clip(rows + dy, 0, 3)][:, np.clip(columns + dx, 0, 4)])
        ]
        assert len(fits) == 1
        offsets += fits
    counts = [offsets.count((dy, dx)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    assert min(counts) > 20


@pytest.mark.parametrize(("epochs", "seeds"), [(2, [5]), (1, [5, 6])])
def test_an_image_is_changed_anew_every_epoch_and_by_every_seed(epochs: int, seeds: list[int]) -> None:
    epochs_of_images = [epoch for seed in seeds for epoch in batches_of(Augmentation(flip=True), epochs, seed)]
    flipped = [
        {o.tobytes(): not np.array_equal(x, o) for x, o in zip(*epoch, strict=True)} for epoch in epochs_of_images
    ]
    changed = sum(flipped[0][image] != flipped[1][image] for image in flipped[0])
    assert 150 < changed < 250


def test_only_images_are_augmented() -> None:
    with pytest.raises(ValueError, match=r"only images .* got examples of \(2,\)"):
        Dataset("points", open_dataset(Toy(size=3)).source, (2,), 2, Augmentation(flip=True))
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Augmentation(shift=-1)
