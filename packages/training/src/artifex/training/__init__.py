"""Train, sample and evaluate diffusion models in JAX.

The names are imported at their first use, so that ``artifex --help`` starts without JAX.
"""

# ruff: noqa: F403, F405
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifex.training.exports import *

__all__ = [
    "EMA",
    "BackboneConfig",
    "Batch",
    "Batches",
    "Callback",
    "CheckpointConfig",
    "CheckpointError",
    "Checkpointer",
    "ConfigError",
    "Dataset",
    "Digits",
    "Every",
    "LabeledImages",
    "Learner",
    "MeshConfig",
    "Network",
    "NonFiniteError",
    "Objective",
    "OptimizerConfig",
    "PreviewConfig",
    "Report",
    "RunConfig",
    "SampleGenerator",
    "SamplingConfig",
    "Stop",
    "Toy",
    "TrainState",
    "Trained",
    "Trainer",
    "TrainingConfig",
    "digits",
    "export_network",
    "init_state",
    "load_exported",
    "make_train_step",
    "open_dataset",
    "parse_config",
    "read_config",
    "train",
    "write_config",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module("artifex.training.exports"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
