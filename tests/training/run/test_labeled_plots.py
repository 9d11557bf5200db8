"""Pictures whose rows have the names of their classes."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from artifex.training.run import labeled_plots
from artifex.training.run.labeled_plots import labeled_picture, shown_name
from artifex.training.run.plots import PAPER, TEAL, samples_picture

COLORS = np.array([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)


def made(labels: np.ndarray) -> np.ndarray:
    """Images of one color a class."""
    return np.broadcast_to(COLORS[labels % 3][:, None, None], (len(labels), 8, 8, 3))


def columns_of(picture: Image.Image, color: str) -> np.ndarray:
    """Find the columns with pixels close to a color."""
    distance = np.abs(np.asarray(picture) / 255 - to_rgb(color)).max(axis=2)
    return np.flatnonzero((distance < 0.1).any(axis=0))


def test_each_class_has_its_rows_behind_its_name() -> None:
    labels = np.resize([2, 0, 1], 12).astype(np.int32)
    picture = labeled_picture(made(labels), labels, ("cat", "dog", "a fox"))
    strips = [samples_picture(made(np.full(4, label))) for label in range(3)]
    width, height = strips[0].size
    assert picture.height == 3 * height
    left = picture.width - width
    for row, strip in enumerate(strips):
        shown = picture.crop((0, row * height, picture.width, (row + 1) * height))
        assert np.array_equal(np.asarray(shown)[:, left:], np.asarray(strip))
        words = columns_of(shown, TEAL)
        assert 0 <= words.min() < words.max() < left
    assert np.array_equal(
        np.asarray(labeled_picture(made(labels), labels, ("dog", "dog", "a fox")))[height:],
        np.asarray(picture)[height:],
    )


def test_classes_with_few_images_stand_side_by_side() -> None:
    labels = np.arange(12, dtype=np.int32)
    picture = labeled_picture(made(labels), labels, [f"class {i}" for i in range(12)])
    shown = np.asarray(picture).reshape(-1, 3)
    for color in COLORS:
        # 12 images in two rows: all of them are there, each 64 pixels wide
        assert (np.abs(shown / 127.5 - 1 - color).max(axis=1) < 0.01).sum() == 4 * 64 * 64
    assert np.allclose(shown[-1] / 255, to_rgb(PAPER), atol=0.01)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("cat", "cat"), ("Größe", "Größe"), ("猫", "5"), ("", "5"), ("x" * 24, "x" * 24), ("x" * 25, "x" * 23 + "…")],
)
def test_names_are_shown_as_far_as_the_font_can(name: str, shown: str) -> None:
    assert shown_name([*"01234", name], 5) == shown
    assert shown_name(["0"], 5) == "5"


def test_without_labels_and_for_points_nothing_changes() -> None:
    points, labels = np.zeros((4, 2), np.float32), np.zeros(4, np.int32)
    assert labeled_picture(points, labels, ("a",)).tobytes() == samples_picture(points, labels).tobytes()
    images = made(np.arange(3))
    assert labeled_picture(images, None, ("a",)).tobytes() == samples_picture(images).tobytes()
    with pytest.raises(ValueError, match="samples must be"):
        labeled_picture(images[:0], labels[:0], ("a",))


def test_very_many_images_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros(40, np.int32)
    width, height = samples_picture(made(labels[:1])).size
    monkeypatch.setattr(labeled_plots, "PIXELS", 25 * width * height)
    assert labeled_picture(made(labels), labels, ("a",)).height == samples_picture(made(labels[:25])).height
