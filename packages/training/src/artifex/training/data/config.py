"""Which data to learn from, as a file says it."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, PositiveInt, field_validator, model_validator

from artifex.training.data.augment import Augmentation
from artifex.training.data.cifar import Labelling
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
"""A path, also as a string; ``~`` at its beginning is the home folder."""


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
        prefix: what the files' names begin with, where the folder holds several sets: emnist-letters.
        num_classes: labels are below it; null takes one more than the largest, and expects each to be there.
        classes: names of the classes in the order of their labels; null is those of EMNIST's sets, else none.
        first_label: of the first class in the file; null is 1 of EMNIST's letters, else 0.
        transpose: exchange rows and columns; null does so for EMNIST's sets, whose images lie on their side.
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
    """CIFAR-10 or CIFAR-100 in its binary version.

    Attributes:
        path: a folder with ``data_batch_1.bin`` or ``train.bin`` and so on.
        labels: which set, and which of the labels of CIFAR-100.
        split: which files.
        classes: names of the classes in the order of their labels; null is those in the folder's text file, if it is
            there.
    """

    kind: Literal["cifar"] = "cifar"
    path: AnyPath
    labels: Labelling = "cifar10"
    split: Split = "train"
    classes: Names | None = None
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
        split: which of the folders train, val and test is read; null is train where there are such folders, and none
            takes them for classes.
        classes: the classes to learn, by their folders, in the order of their labels; null takes all, in the order of
            their names, or numbers.
        value_range: what is mapped to -1 and 1 of images of floats, 32-bit and 16-bit integers; null is 0 and 65535 of
            16 bits and refuses the others.
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
    """Examples in an npz or npy file; of an npy file only what a batch asks for is read.

    Attributes:
        path: of the file; images are ``(n, height, width, channels)`` or, of one channel, ``(n, height, width)``,
            points ``(n, d)``.
        labels: an npy file of labels beside one of examples; null where there are none.
        x_key: name of the examples in an npz file; null finds images, x, x_train, arr_0 and their like.
        labels_key: name of the labels in an npz file; auto finds labels, y, y_train, arr_1 and their like, if there are
            some, and null is none.
        split: which of the parts of an npz file that has x_train and x_test is read; null is train.
        layout: the axes of images: NHWC, NCHW or NHW; null refuses those that look like channels first.
        value_range: what is mapped to -1 and 1; null is 0 and 255 of uint8, -1 and 1 of floats, and refuses images that
            look like others.
        num_classes: labels are below it; null takes one more than the largest, and expects each to be there.
        classes: names of the classes in the order of their labels; null is those of labels that are names, else none.
        first_label: of the first class in the file.
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
            raise ValueError("labels are a file's beside an npy file; those in an npz file are named by labels_key")
        return self


DataConfig = Annotated[
    Digits | Toy | MnistIdx | CifarBinary | ImageFolder | Arrays,
    Field(discriminator="kind"),
]
"""Any of them, told apart by ``kind``."""


def class_names(config: DataConfig) -> tuple[str, ...]:
    """The names of the classes as far as the configuration has them; a run's has all that its data had."""
    if isinstance(config, Digits):
        return tuple("0123456789")
    return () if isinstance(config, Toy) else config.classes or ()


def with_classes(config: DataConfig, classes: tuple[str, ...]) -> DataConfig:
    """``config`` with the names of classes that were found."""
    if isinstance(config, Digits | Toy) or config.classes is not None or not classes:
        return config
    return config.model_copy(update={"classes": classes})
