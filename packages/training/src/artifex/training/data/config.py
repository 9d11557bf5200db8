"""Configurations of data sets."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, PositiveInt, field_validator, model_validator

from artifex.training.data.augment import Augmentation
from artifex.training.data.cifar import Labeling
from artifex.training.data.classes import normal
from artifex.training.data.decode import Background, Mode
from artifex.training.data.folder import EXTENSIONS
from artifex.training.data.idx import Split
from artifex.training.data.keys import AUTO
from artifex.training.data.layout import Layout
from artifex.training.data.splits import Part
from artifex.training.data.toys import ToyName
from artifex.training.files import expanded
from artifex.training.section import Section

AnyPath = Annotated[Path, Field(strict=False), AfterValidator(expanded)]
"""A path, also as a string; a leading ``~`` is the home folder."""


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({normal(name) for name in names}) < len(names) or not all(name.strip() for name in names):
        raise ValueError(f"classes must be names that differ, got {list(names)}")
    return names


Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)]
Range = tuple[float, float]


def _check_number(num_classes: int | None, classes: tuple[str, ...] | None) -> None:
    if None not in (num_classes, classes) and num_classes != len(classes or ()):
        raise ValueError(f"classes must be as many names as num_classes = {num_classes}, got {len(classes or ())}")


def _check_range(value: Range | None) -> Range | None:
    if value is not None and not -np.inf < value[0] < value[1] < np.inf:
        raise ValueError(f"value_range must be (low, high) with low below high, got {value}")
    return value


class Digits(Section):
    """The 8x8 digits of scikit-learn, which are part of the installation.

    Attributes:
        augmentation: random changes of the images.
    """

    kind: Literal["digits"] = "digits"
    augmentation: Augmentation = Augmentation()


class Toy(Section):
    """Points in the plane.

    Attributes:
        name: of the figure, see ``toy_points``.
        size: number of points.
        seed: of the points.
    """

    kind: Literal["toy"] = "toy"
    name: ToyName = "moons"
    size: int = Field(default=50_000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**64)


class MnistIdx(Section):
    """Images of one channel in idx files: MNIST, Fashion-MNIST, EMNIST ...

    Attributes:
        path: a folder with ``train-images-idx3-ubyte`` and so on, or the same compressed, ``.gz``.
        split: train or test.
        prefix: beginning of the files' names, if the folder holds several sets: emnist-letters.
        num_classes: number of classes; null is one more than the largest label, and requires examples of each.
        classes: names of the classes in the order of their labels; null is those of EMNIST's sets, else none.
        first_label: label of the first class in the file; null is 1 for EMNIST's letters, else 0.
        transpose: swap rows and columns; null does so for EMNIST's sets, whose images are stored transposed.
        augmentation: random changes of the images.
    """

    kind: Literal["mnist"] = "mnist"
    path: AnyPath
    split: Split = "train"
    prefix: str | None = None
    num_classes: PositiveInt | None = None
    classes: Names | None = None
    first_label: int | None = None
    transpose: bool | None = None
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _one_number(self) -> "MnistIdx":
        _check_number(self.num_classes, self.classes)
        return self


class CifarBinary(Section):
    """CIFAR-10 or CIFAR-100 in the binary version.

    Attributes:
        path: a folder with ``data_batch_1.bin`` or ``train.bin`` and so on.
        labels: cifar10, or the fine or coarse labels of CIFAR-100: cifar100, cifar100_coarse.
        split: train or test.
        classes: names of the classes in the order of their labels; null is those in the folder's text file, if there is
            one.
        augmentation: random changes of the images.
    """

    kind: Literal["cifar"] = "cifar"
    path: AnyPath
    labels: Labeling = "cifar10"
    split: Split = "train"
    classes: Names | None = None
    augmentation: Augmentation = Augmentation()


class ImageFolder(Section):
    """Images in a folder, with or without a subfolder for each class.

    Attributes:
        path: the folder.
        size: height and width, one number for both; null keeps images as they are, which must be of one size.
        mode: rgb or gray.
        background: color behind transparent pixels.
        extensions: of the files' names, in any case.
        flat: ignore the folders; images have no class.
        split: the folder train, val or test to read; null is train if there are such folders, and none treats them as
            classes.
        classes: the classes to learn, by their folders, in the order of their labels; null is all, in the order of
            their names, or numbers.
        value_range: the values that are mapped to -1 and 1 for images of floats, 32-bit and 16-bit integers; null is 0
            and 65535 for 16 bits and refuses the others.
        corrupt: refuse unreadable images, or skip them: the next readable one takes their place, and they are counted.
        augmentation: random changes of the images.
    """

    kind: Literal["folder"] = "folder"
    path: AnyPath
    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    mode: Mode = "rgb"
    background: Background = "white"
    extensions: Annotated[tuple[str, ...], Field(min_length=1)] = EXTENSIONS
    flat: bool = False
    split: Part | Literal["none"] | None = None
    classes: Names | None = None
    value_range: Range | None = None
    corrupt: Literal["refuse", "skip"] = "refuse"
    augmentation: Augmentation = Augmentation()

    _ordered = field_validator("value_range")(_check_range)

    @field_validator("extensions")
    @classmethod
    def _dotted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for extension in value:
            if not extension.startswith("."):
                raise ValueError(f"extensions must begin with a dot, got {extension}")
        return value

    @model_validator(mode="after")
    def _no_classes(self) -> "ImageFolder":
        if self.flat and self.classes is not None:
            raise ValueError("classes must be null where images are flat, without classes")
        return self


class Arrays(Section):
    """Examples in an npz or npy file; an npy file is memory-mapped.

    Attributes:
        path: of the file; images are ``(n, height, width, channels)`` or, of one channel, ``(n, height, width)``,
            points ``(n, d)``.
        labels: an npy file of labels for an npy file of examples; null is no labels.
        x_key: name of the examples in an npz file; null finds images, x, x_train, arr_0 and similar names.
        labels_key: name of the labels in an npz file; auto finds labels, y, y_train, arr_1 and similar names, if there
            are any, and null is no labels.
        split: the part to read of an npz file with x_train and x_test; null is train.
        layout: the axes of images: NHWC, NCHW or NHW; null refuses those that look like channels first.
        value_range: the values that are mapped to -1 and 1; null is 0 and 255 for uint8, -1 and 1 for floats, and
            refuses images that seem to have another range.
        num_classes: number of classes; null is one more than the largest label, and requires examples of each.
        classes: names of the classes in the order of their labels; null is those of labels that are names, else none.
        first_label: label of the first class in the file.
        augmentation: random changes of the images.
    """

    kind: Literal["arrays"] = "arrays"
    path: AnyPath
    labels: AnyPath | None = None
    x_key: str | None = None
    labels_key: str | None = AUTO
    split: Part | None = None
    layout: Layout | None = None
    value_range: Range | None = None
    num_classes: PositiveInt | None = None
    classes: Names | None = None
    first_label: int | None = None
    augmentation: Augmentation = Augmentation()

    _ordered = field_validator("value_range")(_check_range)

    @field_validator("path")
    @classmethod
    def _known(cls, path: Path) -> Path:
        if path.suffix.lower() not in (".npz", ".npy"):
            raise ValueError(f"path must end in .npz or .npy, got {path}")
        return path

    @model_validator(mode="after")
    def _one_home(self) -> "Arrays":
        _check_number(self.num_classes, self.classes)
        if self.labels is not None and self.path.suffix.lower() == ".npz":
            raise ValueError("labels is for an npy file; labels in an npz file are named by labels_key")
        return self


DataConfig = Annotated[
    Digits | Toy | MnistIdx | CifarBinary | ImageFolder | Arrays,
    Field(discriminator="kind"),
]
"""Any data set, distinguished by ``kind``."""


def class_names(config: DataConfig) -> tuple[str, ...]:
    """Return the names of the classes in the configuration; that of a run has all names of its data."""
    if isinstance(config, Digits):
        return tuple("0123456789")
    return () if isinstance(config, Toy) else config.classes or ()


def with_classes(config: DataConfig, classes: tuple[str, ...]) -> DataConfig:
    """Add the names of the classes that were found in the data."""
    if isinstance(config, Digits | Toy) or config.classes is not None or not classes:
        return config
    return config.model_copy(update={"classes": classes})
