"""Pictures as input and output."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artifex.pipelines import contact_sheet
from artifex.pipelines.pictures import read_picture, to_mask, to_pictures, to_pixels

RED, GREEN = (255, 0, 0), (0, 255, 0)


def marked(mode: str = "RGB") -> Image.Image:
    """Two pixels wide, three high; red at the top left, green elsewhere."""
    out = Image.new("RGB", (2, 3), GREEN)
    out.putpixel((0, 0), RED)
    return out.convert(mode)


def test_turned_as_exif_data_say(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the first row is the right side
    marked().save(tmp_path / "turned.png", exif=exif)
    found = read_picture(tmp_path / "turned.png")
    assert found.size == (3, 2)
    assert found.getpixel((2, 0)) == RED
    assert found.getpixel((0, 0)) == GREEN


def test_transparency_is_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    found = read_picture(image)
    assert found.mode == "RGB"
    assert found.getpixel((0, 0)) == (255, 255, 255)
    assert found.getpixel((1, 0)) == (127, 127, 127)


def test_palettes(tmp_path: Path) -> None:
    marked("P").save(tmp_path / "palette.png")
    found = read_picture(str(tmp_path / "palette.png"))
    assert (found.mode, found.getpixel((0, 0)), found.getpixel((1, 2))) == ("RGB", RED, GREEN)
    clear = Image.new("P", (1, 1), 0)
    clear.putpalette([10, 20, 30])
    clear.info["transparency"] = 0
    stream = io.BytesIO()
    clear.save(stream, "PNG", transparency=0)
    assert read_picture(Image.open(stream)).getpixel((0, 0)) == (255, 255, 255)


def test_gray_pictures() -> None:
    assert read_picture(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)
    assert read_picture(marked(), gray=True).mode == "L"


def test_range() -> None:
    found = to_pixels(Image.fromarray(np.array([[[0, 127, 255]]], np.uint8)), (1, 1))
    np.testing.assert_allclose(found[0, 0], [-1, 127 / 127.5 - 1, 1])
    pixels = np.array([-2.0, -1.0, 0.0, 1.0, 3.0])[None, None, :, None]
    (drawn,) = to_pictures(np.repeat(pixels, 3, -1))
    np.testing.assert_array_equal(np.asarray(drawn)[0, :, 0], [0, 0, 128, 255, 255])
    assert to_pictures(pixels)[0].mode == "L"


def test_masks_are_divided_at_the_middle() -> None:
    gray = Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8))
    np.testing.assert_array_equal(to_mask(gray, (1, 4)), [[0, 0, 1, 1]])


def test_contact_sheet() -> None:
    pictures = [Image.new("RGB", (4, 2), (i, 0, 0)) for i in range(5)]
    sheet = contact_sheet(pictures, gap=1)
    assert sheet.size == (3 * 5 + 1, 2 * 3 + 1)
    assert sheet.getpixel((6, 4)) == (4, 0, 0)
    assert sheet.getpixel((11, 4)) == (255, 255, 255)
    assert contact_sheet(pictures, columns=5, gap=0).size == (20, 2)
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_what_is_no_picture(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.png is not a picture"):
        read_picture(tmp_path / "bad.png")
    with pytest.raises(FileNotFoundError, match=r"no picture .*none\.png"):
        read_picture(tmp_path / "none.png")
