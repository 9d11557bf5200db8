"""Images in a folder, one file each, decoded when they are asked for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Literal, NoReturn

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageOps

from artifex.training.data.source import DataError, Example, UnreadableError

Background = Literal["white", "black"]
Mode = Literal["rgb", "grey"]

EXTENSIONS: Final = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_CHANNELS: Final = {"rgb": 3, "grey": 1}
_DEEP: Final = ("I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class Form:
    """What every image is brought to.

    Attributes:
        mode: colours or shades.
        size: height and width: the shorter side is scaled and the longer one cut on both ends; None leaves images as
            they are.
        background: what shows through transparent pixels.
    """

    mode: Mode = "rgb"
    size: tuple[int, int] | None = None
    background: Background = "white"

    @property
    def channels(self) -> int:
        """How many channels images have."""
        return _CHANNELS[self.mode]


class ImageFolderSource:
    """The images under a folder; the first folder on the way to one is its class, if there is any.

    Names that begin with a dot are left out.

    Args:
        folder: where they are.
        form: what they are brought to.
        extensions: of their names, in any case.
        flat: images have no class, whatever folder they are in.

    Attributes:
        files: names of all images below ``folder``, in order.
        classes: names of the classes in order, which are labels 0, 1, ...; none where images have no class.
        shape: of all images: what was asked for, or that of the first that can be read.

    Raises:
        OSError: if a folder can't be read.
        ValueError: if there are no images, or some in classes and some not.
        UnreadableError: if the first is to give the size, and none can be read.
    """

    def __init__(
        self, folder: Path, form: Form = Form(), extensions: Sequence[str] = EXTENSIONS, flat: bool = False
    ) -> None:
        self.folder = folder
        self.form = form
        self.files = _files(folder, tuple(extension.lower() for extension in extensions))
        if not self.files:
            raise ValueError(f"{folder} must hold images ({' '.join(extensions)}), got none")
        loose = [name for name in self.files if "/" not in name]
        self.classes: tuple[str, ...] = ()
        if not flat and len(loose) < len(self.files):
            if loose:
                raise ValueError(
                    f"{folder} must hold images either in a folder for each class or in none, "
                    f"got {loose[0]} among {len(loose)} in none and {len(self.files) - len(loose)} others"
                )
            self.classes = tuple(sorted({name.split("/")[0] for name in self.files}))
            folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
            empty = [name for name in folders if name not in self.classes]
            if empty:
                raise ValueError(f"{folder / empty[0]} must hold images as every class, got none")
        self._labels = {name: label for label, name in enumerate(self.classes)}
        self.shape = self._shape()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> Example:
        name = self.files[index]
        x = decode(self.folder / name, self.form)
        if x.shape != self.shape:
            raise DataError(
                f"images must be of one size where none is set, {_size(self.shape)} as the first, "
                f"got {_size(x.shape)} of {self.folder / name}"
            )
        return x, self._labels.get(name.split("/")[0], 0)

    def _shape(self) -> tuple[int, int, int]:
        """The shape that was asked for, or that of the first image that can be read."""
        if self.form.size is not None:
            return *self.form.size, self.form.channels
        error: UnreadableError | None = None
        for name in self.files:
            try:
                height, width, channels = decode(self.folder / name, self.form).shape
            except UnreadableError as unreadable:
                error = error or unreadable
            else:
                return height, width, channels
        assert error is not None
        raise error


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def decode(path: Path, form: Form) -> Float32[np.ndarray, "h w c"]:
    """An image file's pixels in [-1, 1], turned the way its EXIF data say.

    16-bit shades keep their precision.

    Raises:
        UnreadableError: if it is no whole image.
    """
    try:
        with Image.open(path) as image:
            return _pixels(image, form)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise almost anything on broken files
        raise UnreadableError(str(path), str(error) or type(error).__name__) from error


def _pixels(image: Image.Image, form: Form) -> Float32[np.ndarray, "h w c"]:
    if form.size is not None:
        # A JPEG is decoded at a half, a quarter or an eighth where that is at least twice what is wanted.
        image.draft(None, (2 * max(form.size), 2 * max(form.size)))
    image = ImageOps.exif_transpose(image)
    if image.mode == "I" and np.asarray(image).max() > 65535:
        raise ValueError("pixels must be of 16 bits at most, got 32")
    if image.mode in _DEEP:
        image, white = Image.fromarray(np.asarray(image, np.float32)), 65535.0
    elif image.mode == "F":
        raise ValueError("pixels must be integers, got floats")
    else:
        image, white = _flattened(image, form), 255.0
    if form.size is not None:
        height, width = form.size
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    x = np.asarray(image, np.float32).reshape(image.height, image.width, -1)
    x = np.clip(x, 0, white) / np.float32(white / 2) - np.float32(1)
    return np.broadcast_to(x, (*x.shape[:2], form.channels))


def _flattened(image: Image.Image, form: Form) -> Image.Image:
    """Without transparency, in the mode of ``form``."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, form.background), image)
    return image.convert("RGB" if form.mode == "rgb" else "L")


def _files(folder: Path, extensions: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the images below ``folder``, with slashes, in the order of their characters."""

    def refuse(error: OSError) -> NoReturn:
        raise error

    names = list[str]()
    for path, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = PurePath(path).relative_to(folder)
        names += [
            (inside / name).as_posix()
            for name in files
            if name.lower().endswith(extensions) and not name.startswith(".")
        ]
    return tuple(sorted(names))
