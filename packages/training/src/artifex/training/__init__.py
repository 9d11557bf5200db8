"""Train, sample and evaluate diffusion models in JAX; the command artifex.

Its names are loaded when they are first used, so that the command answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from artifex.training.checkpoint import Checkpointer as Checkpointer
    from artifex.training.choices import BackboneConfig as BackboneConfig
    from artifex.training.choices import CosineVpSchedule as CosineVpSchedule
    from artifex.training.choices import DiscreteSchedule as DiscreteSchedule
    from artifex.training.choices import EdmSchedule as EdmSchedule
    from artifex.training.choices import EdmWeight as EdmWeight
    from artifex.training.choices import LogitNormalTimes as LogitNormalTimes
    from artifex.training.choices import LogNormalTimes as LogNormalTimes
    from artifex.training.choices import MinSnrWeight as MinSnrWeight
    from artifex.training.choices import P2Weight as P2Weight
    from artifex.training.choices import RectifiedFlowSchedule as RectifiedFlowSchedule
    from artifex.training.choices import SigmoidWeight as SigmoidWeight
    from artifex.training.choices import SoftMinSnrWeight as SoftMinSnrWeight
    from artifex.training.choices import StepTimes as StepTimes
    from artifex.training.choices import SubVpSchedule as SubVpSchedule
    from artifex.training.choices import TruncatedSnrWeight as TruncatedSnrWeight
    from artifex.training.choices import UniformTimes as UniformTimes
    from artifex.training.choices import UniformWeight as UniformWeight
    from artifex.training.choices import UnitWeight as UnitWeight
    from artifex.training.choices import VeSchedule as VeSchedule
    from artifex.training.choices import VpSchedule as VpSchedule
    from artifex.training.config import CheckpointConfig as CheckpointConfig
    from artifex.training.config import PrecisionConfig as PrecisionConfig
    from artifex.training.config import RunConfig as RunConfig
    from artifex.training.config import TrainingConfig as TrainingConfig
    from artifex.training.data import Batch as Batch
    from artifex.training.data import Batches as Batches
    from artifex.training.data import Dataset as Dataset
    from artifex.training.data import Digits as Digits
    from artifex.training.data import LabelledImages as LabelledImages
    from artifex.training.data import Toy as Toy
    from artifex.training.data import batch_indices as batch_indices
    from artifex.training.data import digits as digits
    from artifex.training.data import open_dataset as open_dataset
    from artifex.training.ema import Average as Average
    from artifex.training.ema import Constant as Constant
    from artifex.training.ema import Ema as Ema
    from artifex.training.ema import Latest as Latest
    from artifex.training.ema import NoEma as NoEma
    from artifex.training.ema import Power as Power
    from artifex.training.ema import PowerEma as PowerEma
    from artifex.training.ema import Snapshots as Snapshots
    from artifex.training.ema import gamma as gamma
    from artifex.training.ema import inner_products as inner_products
    from artifex.training.ema import reconstruction as reconstruction
    from artifex.training.ema import sigma_rel as sigma_rel
    from artifex.training.errors import CheckpointError as CheckpointError
    from artifex.training.evaluation.memorization import Memorisation as Memorisation
    from artifex.training.evaluation.memorization import memorization as memorization
    from artifex.training.evaluation.recognition import Recognition as Recognition
    from artifex.training.evaluation.recognition import recognize as recognize
    from artifex.training.evaluation.recognition import spread_ratio as spread_ratio
    from artifex.training.export import Exported as Exported
    from artifex.training.export import export_network as export_network
    from artifex.training.export import load_exported as load_exported
    from artifex.training.levels import Levels as Levels
    from artifex.training.logs import MetricsLog as MetricsLog
    from artifex.training.loop import Callback as Callback
    from artifex.training.loop import Every as Every
    from artifex.training.loop import Network as Network
    from artifex.training.loop import NonFiniteError as NonFiniteError
    from artifex.training.loop import Report as Report
    from artifex.training.loop import StepMetrics as StepMetrics
    from artifex.training.loop import Trained as Trained
    from artifex.training.loop import TrainState as TrainState
    from artifex.training.loop import init_state as init_state
    from artifex.training.loop import make_train_step as make_train_step
    from artifex.training.loop import train as train
    from artifex.training.mesh import MeshConfig as MeshConfig
    from artifex.training.mesh import global_batch as global_batch
    from artifex.training.mesh import make_mesh as make_mesh
    from artifex.training.mesh import state_shardings as state_shardings
    from artifex.training.objective import Draws as Draws
    from artifex.training.objective import Objective as Objective
    from artifex.training.optimizer import OptimiserConfig as OptimiserConfig
    from artifex.training.optimizer import learning_rate as learning_rate
    from artifex.training.optimizer import make_optimiser as make_optimiser
    from artifex.training.pictures import denoising_figure as denoising_figure
    from artifex.training.pictures import loss_figure as loss_figure
    from artifex.training.pictures import samples_figure as samples_figure
    from artifex.training.preview import Preview as Preview
    from artifex.training.reading import ConfigError as ConfigError
    from artifex.training.reading import dump_config as dump_config
    from artifex.training.reading import parse_config as parse_config
    from artifex.training.reading import read_config as read_config
    from artifex.training.reading import write_config as write_config
    from artifex.training.sampling import PreviewConfig as PreviewConfig
    from artifex.training.sampling import SampleGenerator as SampleGenerator
    from artifex.training.sampling import SamplingConfig as SamplingConfig
    from artifex.training.signals import Stop as Stop
    from artifex.training.trainer import Trainer as Trainer

__all__ = [
    "Average",
    "BackboneConfig",
    "Batch",
    "Batches",
    "Callback",
    "CheckpointConfig",
    "CheckpointError",
    "Checkpointer",
    "ConfigError",
    "Constant",
    "CosineVpSchedule",
    "Dataset",
    "Digits",
    "DiscreteSchedule",
    "Draws",
    "EdmSchedule",
    "EdmWeight",
    "Ema",
    "Every",
    "Exported",
    "LabelledImages",
    "Latest",
    "Levels",
    "LogNormalTimes",
    "LogitNormalTimes",
    "Memorisation",
    "MeshConfig",
    "MetricsLog",
    "MinSnrWeight",
    "Network",
    "NoEma",
    "NonFiniteError",
    "Objective",
    "OptimiserConfig",
    "P2Weight",
    "Power",
    "PowerEma",
    "PrecisionConfig",
    "Preview",
    "PreviewConfig",
    "Recognition",
    "RectifiedFlowSchedule",
    "Report",
    "RunConfig",
    "SampleGenerator",
    "SamplingConfig",
    "SigmoidWeight",
    "Snapshots",
    "SoftMinSnrWeight",
    "StepMetrics",
    "StepTimes",
    "Stop",
    "SubVpSchedule",
    "Toy",
    "TrainState",
    "Trained",
    "Trainer",
    "TrainingConfig",
    "TruncatedSnrWeight",
    "UniformTimes",
    "UniformWeight",
    "UnitWeight",
    "VeSchedule",
    "VpSchedule",
    "batch_indices",
    "denoising_figure",
    "digits",
    "dump_config",
    "export_network",
    "gamma",
    "global_batch",
    "init_state",
    "inner_products",
    "learning_rate",
    "load_exported",
    "loss_figure",
    "make_mesh",
    "make_optimiser",
    "make_train_step",
    "memorization",
    "open_dataset",
    "parse_config",
    "read_config",
    "recognize",
    "reconstruction",
    "samples_figure",
    "sigma_rel",
    "spread_ratio",
    "state_shardings",
    "train",
    "write_config",
]

_HOMES: Final = {
    "mesh": ("MeshConfig", "global_batch", "make_mesh", "state_shardings"),
    "errors": ("CheckpointError",),
    "export": ("Exported", "export_network", "load_exported"),
    "signals": ("Stop",),
    "sampling": (
        "SampleGenerator",
        "PreviewConfig",
        "SamplingConfig",
    ),
    "preview": ("Preview",),
    "levels": ("Levels",),
    "logs": ("MetricsLog",),
    "checkpoint": ("Checkpointer",),
    "choices": (
        "BackboneConfig",
        "CosineVpSchedule",
        "DiscreteSchedule",
        "EdmSchedule",
        "EdmWeight",
        "LogNormalTimes",
        "LogitNormalTimes",
        "MinSnrWeight",
        "P2Weight",
        "RectifiedFlowSchedule",
        "SigmoidWeight",
        "SoftMinSnrWeight",
        "StepTimes",
        "SubVpSchedule",
        "TruncatedSnrWeight",
        "UniformTimes",
        "UniformWeight",
        "UnitWeight",
        "VeSchedule",
        "VpSchedule",
    ),
    "config": (
        "CheckpointConfig",
        "PrecisionConfig",
        "RunConfig",
        "TrainingConfig",
    ),
    "data": (
        "Batch",
        "Batches",
        "Dataset",
        "Digits",
        "LabelledImages",
        "Toy",
        "batch_indices",
        "digits",
        "open_dataset",
    ),
    "ema": (
        "Average",
        "Constant",
        "Ema",
        "Latest",
        "NoEma",
        "Power",
        "PowerEma",
        "Snapshots",
        "gamma",
        "inner_products",
        "reconstruction",
        "sigma_rel",
    ),
    "evaluation.memorization": ("Memorisation", "memorization"),
    "evaluation.recognition": ("Recognition", "recognize", "spread_ratio"),
    "loop": (
        "Callback",
        "Every",
        "Network",
        "NonFiniteError",
        "Report",
        "StepMetrics",
        "TrainState",
        "Trained",
        "init_state",
        "make_train_step",
        "train",
    ),
    "objective": (
        "Draws",
        "Objective",
    ),
    "optimizer": (
        "OptimiserConfig",
        "learning_rate",
        "make_optimiser",
    ),
    "pictures": (
        "denoising_figure",
        "loss_figure",
        "samples_figure",
    ),
    "reading": (
        "ConfigError",
        "dump_config",
        "parse_config",
        "read_config",
        "write_config",
    ),
    "trainer": ("Trainer",),
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
