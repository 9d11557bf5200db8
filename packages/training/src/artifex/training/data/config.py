"""Which data to learn from, as a file says it."""

from typing import Annotated, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field

from artifex.training.data import images
from artifex.training.data.augment import Augmentation
from artifex.training.data.dataset import Dataset
from artifex.training.data.source import ArraySource
from artifex.training.data.toys import TOYS, ToyName, toy_points


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Digits(_Config):
    """The 8x8 digits of scikit-learn, which come with the installation."""

    kind: Literal["digits"] = "digits"
    augmentation: Augmentation = Augmentation()


class Toy(_Config):
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


DataConfig = Annotated[Digits | Toy, Field(discriminator="kind")]
"""Any of them, told apart by ``kind``."""


def open_dataset(config: DataConfig) -> Dataset:
    """The data that ``config`` names."""
    match config:
        case Digits():
            digits = images.digits()
            source = ArraySource(digits.images, digits.labels, "digits")
            return Dataset("digits", source, (8, 8, 1), 10, config.augmentation)
        case Toy():
            x, labels = toy_points(config.name, config.size, config.seed)
            return Dataset(config.name, ArraySource(x, labels, config.name), (2,), TOYS[config.name].parts)
        case _:
            assert_never(config)
