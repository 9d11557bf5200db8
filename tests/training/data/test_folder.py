import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artifex.training.data import Dataset, ImageFolder, UnreadableError, open_dataset
from artifex.training.data.decode import Form, decode

RGB = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path, **options)  # type: ignore[arg-type]
    return path


def plain(folder: Path, shades: dict[str, int]) -> Path:
    """Images of one shade each."""
    for name, shade in shades.items():
        save(folder / name, np.full((2, 2, 3), shade, np.uint8))
    return folder


def shades(data: Dataset, size: int, batches: int = 1) -> list[list[int]]:
    stream = data.batches(size, seed=0)
    return [[round((float(x) + 1) * 127.5) for x in next(stream).x[:, 0, 0, 0]] for _ in range(batches)]


def test_pixels_are_those_written(tmp_path: Path) -> None:
    assert np.allclose(decode(save(tmp_path / "a.png", RGB), Form()), RGB / 127.5 - 1, atol=1e-6)
    gray = decode(save(tmp_path / "b.png", RGB[..., 0]), Form("gray"))
    assert np.allclose(gray[..., 0], RGB[..., 0] / 127.5 - 1, atol=1e-6)
    assert np.array_equal(decode(tmp_path / "b.png", Form("rgb")), np.repeat(gray, 3, axis=2))


def test_colors_turn_gray_by_their_luminance(tmp_path: Path) -> None:
    # ITU-R BT.601
    x = decode(save(tmp_path / "a.png", RGB), Form("gray"))
    assert np.allclose((x[..., 0] + 1) * 127.5, RGB @ [0.299, 0.587, 0.114], atol=0.51)


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    deep = np.array([[0, 1, 256], [32767, 65534, 65535]], np.uint16)
    for name in ("a.png", "a.tif"):
        x = decode(save(tmp_path / name, deep), Form("gray"))
        assert np.allclose(x[..., 0], deep / 32767.5 - 1, atol=1e-7)
        assert (x.min(), x.max()) == (-1, 1)
    assert decode(tmp_path / "a.png", Form("rgb", size=(1, 1))).shape == (1, 1, 3)


@pytest.mark.parametrize(("background", "behind"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_show_the_background(tmp_path: Path, mode: str, background: str, behind: int) -> None:
    image = Image.new("RGBA", (2, 1), (100, 100, 100, 255))
    image.putpixel((1, 0), (100, 100, 100, 0))
    if mode == "P":
        image = image.convert("L").convert("P")
        image.info["transparency"] = 7
        image.putpixel((1, 0), 7)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.png")
    x = decode(tmp_path / "a.png", Form(background=background))  # type: ignore[arg-type]
    assert np.allclose((x[0, :, 0] + 1) * 127.5, [100, behind], atol=1e-3)


def test_images_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    x = decode(save(tmp_path / "a.png", RGB, exif=exif), Form())
    assert np.allclose(x, np.rot90(RGB, -1) / 127.5 - 1, atol=1e-6)


def test_the_shorter_side_is_scaled_and_the_longer_cut_on_both_ends(tmp_path: Path) -> None:
    # 8x24: left third black, middle gray, right white; the center is all that is left of it
    wide = np.repeat(np.array([0, 100, 255], np.uint8), 8)[None].repeat(8, axis=0)
    x = decode(save(tmp_path / "a.png", wide), Form("gray", (4, 4)))
    assert x.shape == (4, 4, 1)
    assert np.allclose((x[:, 1:3] + 1) * 127.5, 100, atol=12)
    tall = decode(save(tmp_path / "b.png", wide.T), Form("gray", (4, 4)))
    assert np.allclose(tall[..., 0], x[..., 0].T)
    whole = decode(tmp_path / "a.png", Form("gray", (8, 24)))
    assert np.allclose(whole[..., 0], wide / 127.5 - 1, atol=1e-6)


def test_a_jpeg_is_not_decoded_smaller_than_what_is_asked_for(tmp_path: Path) -> None:
    stripes = np.repeat(np.tile(np.array([30, 220], np.uint8), 4), 8)[None].repeat(64, axis=0)
    x = decode(save(tmp_path / "a.jpg", stripes, quality=95), Form("gray", (32, 32)))
    centers = (x[16, 1::4, 0] + x[16, 2::4, 0] + 2) * 127.5 / 2
    assert np.allclose(centers, np.tile([30, 220], 4), atol=6)


def test_sharp_edges_stay_within_the_range(tmp_path: Path) -> None:
    edge = np.array([[0, 0, 65535, 65535]] * 4, np.uint16)
    x = decode(save(tmp_path / "a.png", edge), Form("gray", (16, 16)))
    assert (x.min(), x.max()) == (-1, 1)


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    plain(tmp_path, {"b/deep/x.PNG": 10, "a/y.png": 20, "a/.hidden.png": 0, ".cache/z.png": 0})
    (tmp_path / "a" / "notes.txt").write_text("hello")
    data = open_dataset(ImageFolder(path=tmp_path))
    assert (len(data), data.shape, data.num_classes, data.name) == (2, (2, 2, 3), 2, tmp_path.name)
    for i, (shade, label) in enumerate([(20, 0), (10, 1)]):
        x, y = data.source[i]
        assert np.allclose((x + 1) * 127.5, shade, atol=1e-4)
        assert y == label
    flat = open_dataset(ImageFolder(path=tmp_path, flat=True))
    assert (len(flat), flat.num_classes, flat.source[1][1]) == (2, None, 0)


def test_images_in_no_folder_have_no_class(tmp_path: Path) -> None:
    data = open_dataset(ImageFolder(path=plain(tmp_path, {"a.png": 1, "b.png": 2, "c.bmp": 3}), extensions=(".png",)))
    assert (len(data), data.num_classes) == (2, None)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FAULTS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "no image": lambda path: path.write_text("hello"),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder": replace_by_folder,
    "flipped bits": lambda path: path.write_bytes(path.read_bytes()[:45] + b"\xff\xff" + path.read_bytes()[47:]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_corrupt_image_is_refused_by_its_path(tmp_path: Path, fault: str) -> None:
    plain(tmp_path, {"a.png": 1, "b.png": 2, "c.png": 3})
    data = open_dataset(ImageFolder(path=tmp_path))
    FAULTS[fault](tmp_path / "b.png")
    with pytest.raises(UnreadableError, match=rf"{tmp_path}/b\.png can't be read: ."):
        shades(data, 3)


def test_corrupt_images_are_skipped_and_counted(tmp_path: Path) -> None:
    plain(tmp_path, {f"{i}.png": i for i in range(7)})
    whole = open_dataset(ImageFolder(path=tmp_path, corrupt="skip"))
    before = shades(whole, 4, 6)
    for i in (2, 3, 6):
        (tmp_path / f"{i}.png").write_bytes(b"")
    data = open_dataset(ImageFolder(path=tmp_path, corrupt="skip"))
    # The next in order stands in for one that can't be read; after the last comes the first.
    replaced = {2: 4, 3: 4, 6: 0}
    assert shades(data, 4, 6) == [[replaced.get(i, i) for i in batch] for batch in before]
    stream = data.batches(4, seed=0)
    for _ in range(5):
        next(stream)
    assert stream.skipped == tuple(str(tmp_path / f"{i}.png") for i in (2, 3, 6))
    resumed = data.batches(4, seed=0)
    resumed.restore(stream.state())
    assert resumed.skipped == stream.skipped
    assert np.array_equal(next(resumed).x, next(stream).x)


def test_a_folder_of_corrupt_images_is_refused(tmp_path: Path) -> None:
    plain(tmp_path, {"a.png": 1, "b.png": 2})
    data = open_dataset(ImageFolder(path=tmp_path, corrupt="skip"))
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="none of 2 examples can be read"):
        shades(data, 1)
    with pytest.raises(UnreadableError, match=r"a\.png can't be read"):
        open_dataset(ImageFolder(path=tmp_path, corrupt="skip"))


def test_mixed_sizes_need_one_to_be_set(tmp_path: Path) -> None:
    plain(tmp_path, {"a.png": 1})
    save(tmp_path / "b.png", RGB)
    with pytest.raises(
        ValueError, match=rf"one size where none is set, 2x2 as the first, got 3x4 of {tmp_path}/b\.png"
    ):
        shades(open_dataset(ImageFolder(path=tmp_path)), 2)
    assert open_dataset(ImageFolder(path=tmp_path, size=2)).shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], r"must hold images \(\.avif \.bmp .*\), got none"),
        (["a.txt"], "got none"),
        (
            ["a/x.png", "y.png", "z.png"],
            "a folder for each class or in none, got y.png among 2 in none and 1 others",
        ),
        (["a/x.png", "b/c/notes.txt"], "b must hold images as every class, got none"),
    ],
)
def test_folders_without_images_are_refused(tmp_path: Path, files: list[str], says: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=says) as error:
        open_dataset(ImageFolder(path=tmp_path))
    assert str(tmp_path) in str(error.value)


def test_folders_that_cannot_be_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        open_dataset(ImageFolder(path=tmp_path / "none"))
    plain(tmp_path, {"a/x.png": 1, "b/y.png": 2})
    scandir = os.scandir

    def closed(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(PermissionError, match=f"{tmp_path}/b"):
        open_dataset(ImageFolder(path=tmp_path))
