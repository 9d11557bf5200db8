"""Workers of grain. They take seconds to start, so one test has some."""

from itertools import islice
from pathlib import Path

import grain
import numpy as np
import pytest
from PIL import Image

from artifex.training.data import Augmentation, Dataset, ImageFolder, batch_indices, open_dataset


@pytest.mark.slow
def test_processes_make_the_same_batches_in_the_same_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = [tmp_path / "ab"[i % 2] / f"{i}.png" for i in range(9)]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8)).save(file)
    files[4].write_bytes(b"corrupt")
    augmentation = Augmentation(flip=True, shift=1)
    data = open_dataset(ImageFolder(path=tmp_path, size=4, corrupt="skip", augmentation=augmentation))
    expected = list(islice(data.batches(4, seed=3), 12))

    with data.batches(4, seed=3, workers=2) as batches:
        for batch in expected[:7]:
            assert all(map(np.array_equal, next(batches), batch))
        assert batches.skipped == (str(files[4]),)
        state = batches.state()
    assert state["step"] == 7  # whatever was made ahead

    with data.batches(4, seed=3, workers=1) as batches:
        batches.restore(state)
        for batch in expected[7:]:
            assert all(map(np.array_equal, next(batches), batch))
        for file in files:
            file.unlink()
        with pytest.raises(ValueError, match="none of 9 examples can be read"):
            list(islice(batches, 10))


def test_any_source_of_grain_is_one_here() -> None:
    source = grain.MapDataset.range(10).map(lambda i: (np.full((2, 2, 1), i, np.uint8), i % 3))
    data = Dataset.from_source(source, name="mine", num_classes=3)
    assert (len(data), data.shape) == (10, (2, 2, 1))
    batch = next(data.batches(25, seed=4))
    expected = batch_indices(10, 25, 4, 0)
    assert np.allclose((batch.x[:, 1, 1, 0] + 1) * 127.5, expected, atol=1e-4)
    assert np.array_equal(batch.labels, expected % 3)
