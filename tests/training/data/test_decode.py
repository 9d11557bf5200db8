"""Every mode of Pillow's images, against Pillow's own conversions and NumPy's arithmetic."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artifex.training.data import ImageFolder, UnreadableError, open_dataset
from artifex.training.data.decode import Form, decode

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 4, 3), np.uint8)
ALPHA = RNG.integers(0, 256, (5, 4), np.uint8)
DEEP = np.array([[0, 1, 256], [32767, 65534, 65535]], np.uint16)
FLOATS = np.array([[-0.5, 0.0], [0.25, 1.5]], np.float32)


def made(mode: str) -> Image.Image:
    colors = Image.fromarray(RGB)
    if mode in ("LA", "RGBA", "PA"):
        colors.putalpha(Image.fromarray(ALPHA))
    return colors.convert(mode)


def bytes_of(x: np.ndarray) -> np.ndarray:
    return (x + 1) * 127.5


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV"])
def test_opaque_modes_are_converted_as_pillow_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    image = made(mode)
    if mode == "HSV":  # which no file holds
        monkeypatch.setattr(Image, "open", lambda path: image)
    else:
        image.save(tmp_path / "a.tif")
        with Image.open(tmp_path / "a.tif") as written:
            assert written.mode == mode
    assert np.allclose(bytes_of(decode(tmp_path / "a.tif", Form())), np.asarray(image.convert("RGB")), atol=1e-4)
    gray = decode(tmp_path / "a.tif", Form("gray"))[..., 0]
    assert np.allclose(bytes_of(gray), np.asarray(image.convert("L")), atol=1e-4)


@pytest.mark.parametrize(("background", "behind"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_half_transparent_pixels_are_mixed_with_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, background: str, behind: int
) -> None:
    image = made(mode)
    if mode == "PA":
        monkeypatch.setattr(Image, "open", lambda path: image)
    else:
        image.save(tmp_path / "a.png")
    front, alpha = np.asarray(image.convert("RGBA"), float)[..., :3], ALPHA[..., None] / 255
    x = decode(tmp_path / "a.png", Form(background=background))  # type: ignore[arg-type]
    assert np.allclose(bytes_of(x), front * alpha + behind * (1 - alpha), atol=1)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_color_may_be_transparent(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (2, 1), "white" if mode == "1" else "#646464")
    image.putpixel((1, 0), 0 if mode != "RGB" else (0, 0, 0))
    image.save(tmp_path / "a.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    x = bytes_of(decode(tmp_path / "a.png", Form()))
    assert np.allclose(x[0, :, 0], [255 if mode == "1" else 100, 255], atol=1e-3)


@pytest.mark.parametrize(("background", "behind"), [("white", 1), ("black", -1)])
def test_a_shade_of_sixteen_bits_may_be_transparent(tmp_path: Path, background: str, behind: int) -> None:
    Image.fromarray(DEEP).save(tmp_path / "a.png", transparency=256)
    x = decode(tmp_path / "a.png", Form("gray", background=background))[..., 0]  # type: ignore[arg-type]
    assert np.allclose(x, np.where(DEEP == 256, behind, DEEP / 32767.5 - 1), atol=1e-6)


def test_a_portable_graymap_of_sixteen_bits_is_scaled_by_its_own_white(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 1023\n" + np.array([0, 512, 1023], ">u2").tobytes())
    x = decode(tmp_path / "a.pgm", Form("gray"))[0, :, 0]
    assert np.allclose(x, np.array([0, 512, 1023]) / 511.5 - 1, atol=1e-4)


WIDE: dict[str, tuple[np.ndarray, str]] = {
    "floats": (FLOATS, r"got 32-bit floats in \[-0\.5, 1\.5\]"),
    "negative integers": (np.array([[-7, 0], [1, 300]], np.int32), r"got 32-bit integers in \[-7, 300\]"),
    "integers": (np.array([[0, 255]], np.int32), r"got 32-bit integers in \[0, 255\]"),
    "signed 16 bits": (np.array([[-3, 9]], np.int16), r"got 32-bit integers in \[-3, 9\]"),
}


@pytest.mark.parametrize("kind", WIDE)
def test_what_has_no_white_of_its_own_is_refused_or_scaled_by_a_stated_range(tmp_path: Path, kind: str) -> None:
    values, got = WIDE[kind]
    if kind == "signed 16 bits":
        # Pillow writes no such file: the sample format of one of 16 bits is set to signed.
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a.tif", tiffinfo={339: 2})
    else:
        Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(
        UnreadableError, match=rf"a\.tif can't be read: .*pixels must be of 8 or 16 bits without a value_range, {got}"
    ):
        decode(tmp_path / "a.tif", Form("gray"))
    low, high = float(values.min()) - 1, float(values.max()) + 1
    x = decode(tmp_path / "a.tif", Form("gray", value_range=(low, high)))[..., 0]
    assert np.allclose(x, (values - low) / (high - low) * 2 - 1, atol=1e-6)
    with pytest.raises(UnreadableError, match=r"must lie in value_range \[100, 200\], got"):
        decode(tmp_path / "a.tif", Form("gray", value_range=(100.0, 200.0)))


def test_twelve_bits_in_sixteen_take_their_own_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 4095]], np.uint16)).save(tmp_path / "a.png")
    data = open_dataset(ImageFolder(path=tmp_path, mode="gray", value_range=(0, 4095)))
    assert np.allclose(data.source[0][0][0, :, 0], [-1, 1])


def test_floats_that_are_not_finite_and_unknown_modes_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableError, match=r"must lie in value_range \[0, 1\], got 32-bit floats in \[nan, nan\]"):
        decode(tmp_path / "a.tif", Form(value_range=(0.0, 1.0)))
    Image.new("LAB", (2, 2)).save(tmp_path / "b.tif")
    with pytest.raises(UnreadableError, match="must be colors or shades, got Pillow's mode LAB; save it as RGB"):
        decode(tmp_path / "b.tif", Form())


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif", "A.GIF"])
def test_of_several_images_in_a_file_the_first_is_read(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (2, 2), (shade, 0, 0)) for shade in (250, 10, 120)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    data = open_dataset(ImageFolder(path=tmp_path))
    assert len(data) == 1
    assert np.allclose(bytes_of(data.source[0][0]), [250, 0, 0], atol=1e-3)


@pytest.mark.parametrize("name", ["a.bmp", "a.jfif", "a.JPEG", "a.avif", "a.TIFF", "a.webp"])
def test_every_listed_format_is_read(tmp_path: Path, name: str) -> None:
    kind = {"jfif": "JPEG"}.get(name.split(".")[1])
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / name, format=kind)
    x = open_dataset(ImageFolder(path=tmp_path)).source[0][0]
    assert np.allclose(bytes_of(x), [200, 100, 50], atol=4)
