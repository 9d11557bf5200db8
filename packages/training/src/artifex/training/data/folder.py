"""Images in a folder, one file each, decoded on demand."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np

from artifex.training.data.classes import check_names, normal, ordered
from artifex.training.data.decode import Form, decode
from artifex.training.data.source import DataError, Example, UnreadableError
from artifex.training.data.splits import NAMES, Part, parts_of
from artifex.training.data.walk import Found, find_images, is_left_out, listed

EXTENSIONS: Final = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip

PLAIN: Final = Form()


class ImageFolderSource:
    """The images under a folder; the top-level subfolder of an image is its class, if there are subfolders.

    Classes are in the order of their names, numerically if all names are whole numbers. If the subfolders are train,
    test and so on, one of them is read. Links are followed, and nothing is read twice: see ``find_images``. Names that
    begin with a dot are left out.

    Args:
        folder: of the images.
        form: the format to convert them to.
        extensions: of their names, in any case.
        flat: ignore the subfolders; images have no class.
        split: the subfolder train, val or test; None is train if there are such folders, and ``"none"`` treats them as
            classes.
        classes: names of the classes in the order of their labels; None is all.

    Attributes:
        folder: of ``files``; that of the split, if there are splits.
        files: names of all images below ``folder``, in order.
        classes: names of the labels 0, 1, ...; empty without classes.
        labels: of ``files``, int32; None without classes.
        broken: those of ``files`` that are broken links.
        left_out: number of entries that were left out, by reason.
        notes: lines for the user.
        shape: of all images: that of ``form``, or of the first readable image.

    Raises:
        OSError: if a folder can't be read.
        ValueError: if there are no images, some in classes and some not, a class without one, or classes whose names
            are too similar.
        UnreadableError: if ``form`` has no size, and no image can be read.
    """

    def __init__(
        self,
        folder: Path,
        form: Form = PLAIN,
        extensions: Sequence[str] = EXTENSIONS,
        flat: bool = False,
        split: Part | Literal["none"] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        suffixes = tuple(extension.lower() for extension in extensions)
        self.form = form
        self.folder, self.notes = _split(folder, suffixes, split)
        found = find_images(self.folder, suffixes)
        if not found.files:
            raise ValueError(f"{self.folder} must hold images ({' '.join(extensions)}), got none{_but(found)}")
        self.files, self.left_out = found.files, Counter(found.left_out)
        self.classes: tuple[str, ...] = ()
        self.labels: np.ndarray | None = None
        if not flat and (classes is not None or any("/" in name for name in found.files)):
            self._take_classes(found, classes)
        kept = set(self.files) if found.broken else ()
        self.broken = tuple(name for name in found.broken if name in kept)
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
        return x, 0 if self.labels is None else int(self.labels[index])

    def _take_classes(self, found: Found, wanted: Sequence[str] | None) -> None:
        """Set classes and labels from the subfolders; images of classes not in ``wanted`` are left out."""
        loose = [name for name in found.files if "/" not in name]
        if loose:
            raise ValueError(
                f"{self.folder} must hold images either in a folder for each class or in none, "
                f"got {loose[0]} among {len(loose)} in none and {len(found.files) - len(loose)} others; "
                "data.flat takes all, without classes"
            )
        tops = [normal(_top(name)) for name in found.files]
        counts = Counter(tops)
        if wanted is None:
            check_names(found.folders, str(self.folder))
        classes = ordered(map(normal, found.folders)) if wanted is None else [normal(name) for name in wanted]
        empty = [name for name in classes if not counts[name]]
        if empty:
            raise ValueError(
                f"{self.folder / empty[0]} must hold images as every class, got none{_but(found)}; "
                "data.classes names the classes to learn"
            )
        labels = {name: label for label, name in enumerate(classes)}
        self.classes = tuple(classes)
        self.files = tuple(name for name, top in zip(found.files, tops, strict=True) if top in labels)
        self.labels = np.array([labels[top] for top in tops if top in labels], np.int32)
        self.left_out.update({f"class {top}": n for top, n in counts.items() if top not in labels})
        self.notes += _nested(self.folder, self.files, classes)

    def _shape(self) -> tuple[int, int, int]:
        """Return the shape of ``form``, or of the first readable image."""
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


def _split(
    folder: Path, extensions: tuple[str, ...], split: Part | Literal["none"] | None
) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of a split, and a line about it if there are splits."""
    entries = [path for path in folder.iterdir() if not is_left_out(path.name)]
    folders = sorted(path.name for path in entries if path.is_dir())
    parts = parts_of(folders)
    known = sum(map(len, parts.values()))
    if split is None:
        has_splits = known > 0 and (known == len(folders) or ("train" in parts and known > 1))
        wanted: Part | Literal["none"] = ("train" if "train" in parts else next(iter(parts))) if has_splits else "none"
    else:
        wanted = split
    if wanted == "none":
        return folder, ()
    if split is None and "train" not in parts and known > 1:
        raise ValueError(f"{folder} must hold a folder train where data.split is null, got {', '.join(folders)}")
    found = parts.get(wanted, [])
    if len(found) != 1:
        raise ValueError(
            f"{folder} must hold one folder {' or '.join(NAMES[wanted])} where data.split is {wanted}, "
            f"got {', '.join(folders) or 'no folders'}"
        )
    line = f"split {found[0]} of {', '.join(folders)}; data.split chooses"
    beside = sum(path.name.lower().endswith(extensions) for path in entries)
    return folder / found[0], (line + (f"; left out: images beside these ({beside:,})" if beside else ""),)


def _nested(folder: Path, files: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Return a line if the subfolders of the only class may be the actual classes."""
    inside = sorted({name.split("/")[1] for name in files if name.count("/") > 1})
    if len(classes) > 1 or len(inside) < 2 or any(name.count("/") == 1 for name in files):
        return ()
    shown = ", ".join(inside[:3]) + (", ..." if len(inside) > 3 else "")
    where = folder / classes[0]
    return (f"one class, {classes[0]}, of the folders {shown}; if these are the classes, set data.path={where}",)


def _but(found: Found) -> str:
    return f" but {listed(found.left_out)}" if found.left_out else ""


def _top(name: str) -> str:
    """Return the top-level subfolder of an image."""
    return name.split("/")[0]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
