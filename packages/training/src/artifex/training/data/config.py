"""Which data to learn from, as a file says it."""

from pathlib import Path
from typing import Annotated, Literal, assert_never

import numpy as np
from pydantic import Field, PositiveInt, field_validator, model_validator

from artifex.training.data import images
from artifex.training.data.arrays import read_npy, read_npz
from artifex.training.data.augment import Augmentation
from artifex.training.data.cifar import LAYOUTS, Labelling, read_cifar
from artifex.training.data.dataset import Dataset
from artifex.training.data.folder import EXTENSIONS, Background, Form, ImageFolderSource, Mode
from artifex.training.data.idx import Split, read_mnist
from artifex.training.data.source import ArraySource
from artifex.training.data.toys import TOYS, ToyName, toy_points
from artifex.training.section import Section

AnyPath = Annotated[Path, Field(strict=False)]
"""A path, also as a string."""


class Digits(Section):
    """The 8x8 digits of scikit-learn, which come with the installation."""

    kind: Literal["digits"] = "digits"
    augmentation: Augmentation = Augmentation()


class Toy(Section):
    """Points in the plane.

    Attributes:
        name: of the figure, see ``toy_points``.
        size: how many points.
        seed: of the points.
    """

    kind: Literal["toy"] = "toy"
    name: ToyName = "moons"
    size: int = Field(default=50_000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**64)


class MnistIdx(Section):
    """Images of one channel in the files of MNIST, Fashion-MNIST and their like.

    Attributes:
        path: a folder with ``train-images-idx3-ubyte`` and so on, or the same compressed, ``.gz``.
        split: which files.
        num_classes: labels are below it; None takes one more than the largest.
    """

    kind: Literal["mnist"] = "mnist"
    path: AnyPath
    split: Split = "train"
    num_classes: PositiveInt | None = None
    augmentation: Augmentation = Augmentation()


class CifarBinary(Section):
    """CIFAR-10 or CIFAR-100 in its binary version.

    Attributes:
        path: a folder with ``data_batch_1.bin`` or ``train.bin`` and so on.
        labels: which set, and which of the labels of CIFAR-100.
        split: which files.
    """

    kind: Literal["cifar"] = "cifar"
    path: AnyPath
    labels: Labelling = "cifar10"
    split: Split = "train"
    augmentation: Augmentation = Augmentation()


class ImageFolder(Section):
    """Images in a folder, with a folder for each class or without.

    Attributes:
        path: the folder.
        size: height and width, one number for both; None leaves images as they are, which must be of one size.
        mode: colours or shades.
        background: what shows through transparent pixels.
        extensions: of the files' names, in any case.
        flat: images have no class, whatever folder they are in.
        corrupt: what becomes of images that can't be read: they are refused, or the next one that can be is put in
            their place, and they are counted.
    """

    kind: Literal["folder"] = "folder"
    path: AnyPath
    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    mode: Mode = "rgb"
    background: Background = "white"
    extensions: Annotated[tuple[str, ...], Field(min_length=1)] = EXTENSIONS
    flat: bool = False
    corrupt: Literal["refuse", "skip"] = "refuse"
    augmentation: Augmentation = Augmentation()

    @field_validator("extensions")
    @classmethod
    def _dotted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for extension in value:
            if not extension.startswith("."):
                raise ValueError(f"extensions must begin with a dot, got {extension}")
        return value


class Arrays(Section):
    """Examples in an npz or npy file, uint8 in 0..255 or floats; of an npy file only what a batch asks for is read.

    Attributes:
        path: of the file; images are ``(n, height, width, channels)``, points ``(n, d)``.
        labels: an npy file of labels beside one of examples; None where there are none.
        x_key: name of the examples in an npz file.
        labels_key: name of the labels in an npz file; None where there are none.
        value_range: what of a float is mapped to -1 and 1.
        num_classes: labels are below it; None takes one more than the largest.
    """

    kind: Literal["arrays"] = "arrays"
    path: AnyPath
    labels: AnyPath | None = None
    x_key: str = "images"
    labels_key: str | None = "labels"
    value_range: tuple[float, float] = (-1.0, 1.0)
    num_classes: PositiveInt | None = None
    augmentation: Augmentation = Augmentation()

    @field_validator("path")
    @classmethod
    def _known(cls, path: Path) -> Path:
        if path.suffix not in (".npz", ".npy"):
            raise ValueError(f"path must end in .npz or .npy, got {path}")
        return path

    @field_validator("value_range")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not -np.inf < value[0] < value[1] < np.inf:
            raise ValueError(f"value_range must be (low, high) with low below high, got {value}")
        return value

    @model_validator(mode="after")
    def _one_home(self) -> "Arrays":
        if self.labels is not None and self.path.suffix == ".npz":
            raise ValueError("labels are a file's beside an npy file; those in an npz file are named by labels_key")
        return self


DataConfig = Annotated[
    Digits | Toy | MnistIdx | CifarBinary | ImageFolder | Arrays,
    Field(discriminator="kind"),
]
"""Any of them, told apart by ``kind``."""


def open_dataset(config: DataConfig) -> Dataset:
    """The data that ``config`` names; files are looked for, and read as far as they are kept in memory.

    Raises:
        OSError: if a file or folder is not there or can't be read.
        ValueError: if it does not hold what is said of it.
        UnreadableError: if no image of a folder gives the size that none was given for.
    """
    match config:
        case Digits():
            digits = images.digits()
            return _labelled("digits", ArraySource(digits.images, digits.labels, "digits"), 10, config.augmentation)
        case Toy():
            x, labels = toy_points(config.name, config.size, config.seed)
            return _labelled(config.name, ArraySource(x, labels, config.name), TOYS[config.name].parts)
        case MnistIdx():
            source = read_mnist(config.path, config.split)
            return _labelled(f"mnist {config.split}", source, config.num_classes, config.augmentation)
        case CifarBinary():
            source = read_cifar(config.path, config.split, config.labels)
            name = f"{config.labels} {config.split}"
            return _labelled(name, source, LAYOUTS[config.labels].classes, config.augmentation)
        case Arrays():
            if config.path.suffix == ".npz":
                source = read_npz(config.path, config.x_key, config.labels_key, config.value_range)
            else:
                source = read_npy(config.path, config.labels, config.value_range)
            return _labelled(config.path.stem, source, config.num_classes, config.augmentation)
        case ImageFolder():
            return _folder(config)
        case _:
            assert_never(config)


def _labelled(
    name: str, source: ArraySource, num_classes: int | None, augmentation: Augmentation | None = None
) -> Dataset:
    """A dataset of arrays, whose labels are below ``num_classes``, or one more than the largest."""
    if source.labels is not None:
        least, largest = int(source.labels.min()), int(source.labels.max())
        if least < 0 or (num_classes is not None and largest >= num_classes):
            below = "at least 0" if num_classes is None else f"in 0..{num_classes - 1}"
            raise ValueError(f"{source.name}: labels must be {below}, got {least}..{largest}")
        num_classes = largest + 1 if num_classes is None else num_classes
    elif num_classes is not None:
        raise ValueError(f"{source.name}: num_classes must be None where there are no labels, got {num_classes}")
    return Dataset(name, source, source.x.shape[1:], num_classes, augmentation or Augmentation())


def _folder(config: ImageFolder) -> Dataset:
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    source = ImageFolderSource(
        config.path, Form(config.mode, size, config.background), config.extensions, flat=config.flat
    )
    return Dataset(
        config.path.absolute().name,
        source,
        source.shape,
        len(source.classes) or None,
        config.augmentation,
        skip_unreadable=config.corrupt == "skip",
    )
