"""Train, sample and evaluate diffusion models in JAX; the command artifex.

Its names are loaded when they are first used, so that the command answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from artifex.training.checkpoint import Checkpointer as Checkpointer
    from artifex.training.data import Batch as Batch
    from artifex.training.data import Batches as Batches
    from artifex.training.data import Dataset as Dataset
    from artifex.training.data import LabelledImages as LabelledImages
    from artifex.training.data import batch_indices as batch_indices
    from artifex.training.data import digits as digits
    from artifex.training.data import open_dataset as open_dataset
    from artifex.training.ema import Average as Average
    from artifex.training.ema import Ema as Ema
    from artifex.training.ema import Latest as Latest
    from artifex.training.ema import PowerEma as PowerEma
    from artifex.training.ema import Snapshots as Snapshots
    from artifex.training.ema import gamma as gamma
    from artifex.training.ema import inner_products as inner_products
    from artifex.training.ema import reconstruction as reconstruction
    from artifex.training.ema import sigma_rel as sigma_rel
    from artifex.training.loop import Callback as Callback
    from artifex.training.loop import Network as Network
    from artifex.training.loop import Report as Report
    from artifex.training.loop import Trained as Trained
    from artifex.training.loop import TrainingConfig as TrainingConfig
    from artifex.training.loop import TrainState as TrainState
    from artifex.training.loop import init_state as init_state
    from artifex.training.loop import make_optimiser as make_optimiser
    from artifex.training.loop import make_train_step as make_train_step
    from artifex.training.loop import train as train
    from artifex.training.metrics import Memorisation as Memorisation
    from artifex.training.metrics import Recognition as Recognition
    from artifex.training.metrics import memorisation as memorisation
    from artifex.training.metrics import recognise as recognise
    from artifex.training.metrics import spread_ratio as spread_ratio
    from artifex.training.objective import Draws as Draws
    from artifex.training.objective import Objective as Objective
    from artifex.training.pictures import denoising_figure as denoising_figure
    from artifex.training.pictures import loss_figure as loss_figure
    from artifex.training.pictures import samples_figure as samples_figure

__all__ = [
    "Average",
    "Batch",
    "Batches",
    "Callback",
    "Checkpointer",
    "Dataset",
    "Draws",
    "Ema",
    "LabelledImages",
    "Latest",
    "Memorisation",
    "Network",
    "Objective",
    "PowerEma",
    "Recognition",
    "Report",
    "Snapshots",
    "TrainState",
    "Trained",
    "TrainingConfig",
    "batch_indices",
    "denoising_figure",
    "digits",
    "gamma",
    "init_state",
    "inner_products",
    "loss_figure",
    "make_optimiser",
    "make_train_step",
    "memorisation",
    "open_dataset",
    "recognise",
    "reconstruction",
    "samples_figure",
    "sigma_rel",
    "spread_ratio",
    "train",
]

_HOMES: Final = {
    "checkpoint": ("Checkpointer",),
    "data": ("Batch", "Batches", "Dataset", "LabelledImages", "batch_indices", "digits", "open_dataset"),
    "ema": (
        "Average",
        "Ema",
        "Latest",
        "PowerEma",
        "Snapshots",
        "gamma",
        "inner_products",
        "reconstruction",
        "sigma_rel",
    ),
    "loop": (
        "Callback",
        "Network",
        "Report",
        "TrainState",
        "Trained",
        "TrainingConfig",
        "init_state",
        "make_optimiser",
        "make_train_step",
        "train",
    ),
    "metrics": ("Memorisation", "Recognition", "memorisation", "recognise", "spread_ratio"),
    "objective": ("Draws", "Objective"),
    "pictures": ("denoising_figure", "loss_figure", "samples_figure"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
