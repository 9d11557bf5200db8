"""Data sets, and batches of them that depend on data, seed and step alone."""

from artifex.training.data.augment import Augmentation as Augmentation
from artifex.training.data.batches import Batch as Batch
from artifex.training.data.batches import Batches as Batches
from artifex.training.data.config import Arrays as Arrays
from artifex.training.data.config import CifarBinary as CifarBinary
from artifex.training.data.config import DataConfig as DataConfig
from artifex.training.data.config import Digits as Digits
from artifex.training.data.config import ImageFolder as ImageFolder
from artifex.training.data.config import MnistIdx as MnistIdx
from artifex.training.data.config import Toy as Toy
from artifex.training.data.contents import summary as summary
from artifex.training.data.dataset import Dataset as Dataset
from artifex.training.data.images import Images as Images
from artifex.training.data.images import LabeledImages as LabeledImages
from artifex.training.data.images import Labels as Labels
from artifex.training.data.images import digits as digits
from artifex.training.data.opening import open_dataset as open_dataset
from artifex.training.data.order import batch_indices as batch_indices
from artifex.training.data.source import ArraySource as ArraySource
from artifex.training.data.source import DataError as DataError
from artifex.training.data.source import Example as Example
from artifex.training.data.source import Source as Source
from artifex.training.data.source import UnreadableError as UnreadableError
from artifex.training.data.toys import Points as Points
from artifex.training.data.toys import ToyName as ToyName
from artifex.training.data.toys import toy_points as toy_points

__all__ = [
    "ArraySource",
    "Arrays",
    "Augmentation",
    "Batch",
    "Batches",
    "CifarBinary",
    "DataConfig",
    "DataError",
    "Dataset",
    "Digits",
    "Example",
    "ImageFolder",
    "Images",
    "LabeledImages",
    "Labels",
    "MnistIdx",
    "Points",
    "Source",
    "Toy",
    "ToyName",
    "UnreadableError",
    "batch_indices",
    "digits",
    "open_dataset",
    "summary",
    "toy_points",
]
