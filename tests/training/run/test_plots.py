from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from artifex.training.run.plots import INK, PAPER, denoising_figure, loss_figure, samples_figure, samples_picture, save

BLANK, FULL = np.full((2, 8, 8, 1), -1, np.float32), np.full((2, 8, 8, 1), 1, np.float32)


def pixels(figure: Figure, tmp_path: Path) -> np.ndarray:
    save(figure, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        image.verify()
    with Image.open(tmp_path / "p.png") as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.float64) / 255


def test_every_class_has_its_row_of_ink_and_paper(tmp_path: Path) -> None:
    images = np.concatenate([FULL[:1], BLANK[:1], FULL[:1], BLANK[:1]])
    shown = pixels(samples_figure(images, np.array([5, 5, 7, 7], np.int32), columns=2), tmp_path)
    height, width = shown.shape[:2]
    unit = height / (2 + 2 * 0.16)
    centers = [
        [shown[int((0.16 + y + 0.5) * unit), int((0.16 + 0.6 + x + 0.5) * unit)] for x in (0, 1)] for y in (0, 1)
    ]
    ink, paper = to_rgb(INK), (1, 1, 1)
    assert np.allclose(centers, [[ink, paper], [ink, paper]], atol=0.02)
    assert width > 200


def test_a_picture_stands_upright(tmp_path: Path) -> None:
    image = BLANK[:1].copy()
    image[0, :4, :4] = 1
    shown = pixels(denoising_figure(image, [""]), tmp_path)
    unit = shown.shape[1] / (1 + 2 * 0.12)
    quarters = np.array(
        [[shown[int((0.12 + y) * unit), int((0.12 + x) * unit)] for x in (0.25, 0.75)] for y in (0.25, 0.75)]
    )
    expected = np.array([[to_rgb(INK), (1, 1, 1)], [(1, 1, 1), (1, 1, 1)]])
    assert np.allclose(quarters, expected, atol=0.02)


def test_a_class_may_have_fewer_images_than_columns(tmp_path: Path) -> None:
    few = pixels(samples_figure(FULL, np.array([0, 1], np.int32)), tmp_path)
    assert few.shape[1] > 3 * few.shape[0]


def test_denoising_shows_every_frame_and_needs_every_caption(tmp_path: Path) -> None:
    frames = np.concatenate([FULL, 3 * BLANK])
    shown = pixels(denoising_figure(frames, ["a", "b", "c", "d"]), tmp_path)
    unit = shown.shape[1] / (4 + 2 * 0.12)
    row = shown[int(0.62 * unit), [int((0.12 + x + 0.5) * unit) for x in range(4)]]
    assert np.allclose(row, [to_rgb(INK)] * 2 + [(1, 1, 1)] * 2, atol=0.02)
    with pytest.raises(ValueError, match="captions must be as many as the 4 frames, got 1"):
        denoising_figure(frames, ["a"])


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 3000])
def test_the_loss_of_few_and_of_many_steps_is_drawn(tmp_path: Path, steps: int) -> None:
    shown = pixels(loss_figure(np.linspace(1, 0.1, steps)), tmp_path)
    assert shown.shape[0] < shown.shape[1]
    assert shown.std() > 0.01


def test_the_smoothed_loss_is_a_geometric_mean() -> None:
    lines = loss_figure(np.array([0.5, 2.0] * 200)).axes[0].get_lines()
    assert np.allclose(np.asarray(lines[1].get_ydata())[20:-20], 1, rtol=0.1)


def test_one_figure_is_one_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(samples_figure(FULL, np.array([0, 1], np.int32)), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_images_stand_in_rows_in_their_order() -> None:
    """Gray ones in ink, colored ones in their colors, each pixel a block."""
    gray = np.stack([FULL[0], BLANK[0], FULL[0]])
    colored = np.broadcast_to(np.array([1.0, -1.0, 0.0], np.float32), (12, 4, 4, 3))
    shown = np.asarray(samples_picture(gray)) / 255
    assert shown.shape == (64 + 8, 3 * (64 + 4) + 4, 3)
    assert np.allclose(shown[36, [36, 104, 172]], [to_rgb(INK), (1, 1, 1), to_rgb(INK)], atol=0.01)
    shown = np.asarray(samples_picture(colored))
    assert shown.shape == (2 * (64 + 4) + 4, 10 * (64 + 4) + 4, 3)
    assert np.array_equal(shown[36, 36], [255, 0, 128])
    assert np.array_equal(shown[104, 36 + 68], [255, 0, 128])
    assert np.allclose(shown[104, 36 + 2 * 68], np.multiply(to_rgb(PAPER), 255), atol=1)


def test_points_lie_where_they_are() -> None:
    points = np.tile(np.array([[0.75, 0.25], [np.nan, 0.0]]), (1000, 1))
    shown = np.asarray(samples_picture(points), np.float64) / 255
    marked = np.argwhere(np.abs(shown - to_rgb(PAPER)).max(axis=2) > 0.1)
    center = marked.mean(axis=0) / shown.shape[:2]
    assert np.allclose(center, [(1.25 - 0.25) / 2.5, (1.25 + 0.75) / 2.5], atol=0.01)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 2), "samples must be at least one, got none"),
        ((3, 3), r"samples of shape \(3,\) are neither images \(h, w, c\) of up to 64 channels nor points \(2,\)"),
        ((2, 4, 4, 65), r"samples of shape \(4, 4, 65\) are neither images"),
        ((2, 4, 4), r"samples of shape \(4, 4\) are neither images"),
    ],
)
def test_what_is_no_picture_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        samples_picture(np.zeros(shape, np.float32))
