"""The lines that a run begins with."""

from pathlib import Path

import numpy as np
from PIL import Image

from artifex.training.data import Arrays, Dataset, Digits, ImageFolder, Toy, open_dataset, summary
from tests.training.data.test_walk import images


def test_digits_and_points_are_counted() -> None:
    assert summary(open_dataset(Digits())) == (
        "data: 1,797 images of 8x8 pixels and 1 channel in digits\n"
        "  10 classes: 0 (178), 1 (182), 2 (177), 3 (183), 4 (181), 5 (182), 6 (181), 7 (179), 8 (174), 9 (180)"
    )
    assert summary(open_dataset(Toy(size=1000))).startswith(
        "data: 1,000 points of 2 numbers in moons\n  2 classes: 0 ("
    )


def test_a_folder_is_described_with_what_was_left_out(tmp_path: Path) -> None:
    root = images(tmp_path / "pets", "train/cats/1.png", "train/dogs/2.png", "train/dogs/3.png", "test/cats/4.png")
    (root / "train" / "cats" / "5.heic").write_bytes(b"x")
    (root / "train" / ".DS_Store").write_bytes(b"x")
    frames = [Image.new("L", (2, 2), shade) for shade in (0, 200)]
    frames[0].save(root / "train" / "cats" / "6.gif", save_all=True, append_images=frames[1:])
    assert summary(open_dataset(ImageFolder(path=root))) == (
        "data: 4 images of 2x2 pixels and 3 channels in pets\n"
        "  2 classes: cats (2), dogs (2)\n"
        "  split train of test, train; data.split chooses\n"
        "  left out: .heic (1), hidden (1)\n"
        "  files that hold several images (1): the first of each is read"
    )


def test_many_classes_are_shortened_and_unknown_counts_left_out(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(1000), np.where(np.arange(1000) == 999, 3, 2))
    np.savez(tmp_path / "d.npz", x=np.zeros((2001, 2, 2, 1), np.uint8), y=labels, extra=labels)
    assert summary(open_dataset(Arrays(path=tmp_path / "d.npz"))) == (
        "data: 2,001 images of 2x2 pixels and 1 channel in d\n"
        "  1,000 classes of 2 to 3 each: 0 (2), 1 (2), 2 (2), 3 (2), 4 (2), 5 (2), 6 (2), 7 (2), 8 (2), 9 (2), "
        "10 (2), 11 (2) and 988 more\n"
        "  arrays x and y; left out: extra"
    )
    mine = Dataset.from_source([(np.zeros(3, np.float32), 1)], classes=("a", "b"))
    assert summary(mine) == "data: 1 point of 3 numbers in source\n  2 classes: a, b"
    none = Dataset.from_source([(np.zeros((3, 3), np.float32), 0)])
    assert summary(none) == "data: 1 example of shape (3, 3) in source\n  no classes"
