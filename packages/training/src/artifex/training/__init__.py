"""Train, sample and evaluate diffusion models in JAX; the command artifex.

Its names are loaded when they are first used, so that the command answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from artifex.training.checkpoints.checkpointer import Checkpointer as Checkpointer
    from artifex.training.config.choices import BackboneConfig as BackboneConfig
    from artifex.training.config.choices import CosineVpSchedule as CosineVpSchedule
    from artifex.training.config.choices import DiscreteSchedule as DiscreteSchedule
    from artifex.training.config.choices import EdmSchedule as EdmSchedule
    from artifex.training.config.choices import EdmWeight as EdmWeight
    from artifex.training.config.choices import LogitNormalTimes as LogitNormalTimes
    from artifex.training.config.choices import LogNormalTimes as LogNormalTimes
    from artifex.training.config.choices import MinSnrWeight as MinSnrWeight
    from artifex.training.config.choices import P2Weight as P2Weight
    from artifex.training.config.choices import RectifiedFlowSchedule as RectifiedFlowSchedule
    from artifex.training.config.choices import SigmoidWeight as SigmoidWeight
    from artifex.training.config.choices import SoftMinSnrWeight as SoftMinSnrWeight
    from artifex.training.config.choices import StepTimes as StepTimes
    from artifex.training.config.choices import SubVpSchedule as SubVpSchedule
    from artifex.training.config.choices import TruncatedSnrWeight as TruncatedSnrWeight
    from artifex.training.config.choices import UniformTimes as UniformTimes
    from artifex.training.config.choices import UniformWeight as UniformWeight
    from artifex.training.config.choices import UnitWeight as UnitWeight
    from artifex.training.config.choices import VeSchedule as VeSchedule
    from artifex.training.config.choices import VpSchedule as VpSchedule
    from artifex.training.config.optimizer import OptimiserConfig as OptimiserConfig
    from artifex.training.config.optimizer import learning_rate as learning_rate
    from artifex.training.config.optimizer import make_optimiser as make_optimiser
    from artifex.training.config.run import CheckpointConfig as CheckpointConfig
    from artifex.training.config.run import PrecisionConfig as PrecisionConfig
    from artifex.training.config.run import RunConfig as RunConfig
    from artifex.training.config.run import TrainingConfig as TrainingConfig
    from artifex.training.config.yaml import ConfigError as ConfigError
    from artifex.training.config.yaml import dump_config as dump_config
    from artifex.training.config.yaml import parse_config as parse_config
    from artifex.training.config.yaml import read_config as read_config
    from artifex.training.config.yaml import write_config as write_config
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
    from artifex.training.run.export import Exported as Exported
    from artifex.training.run.export import export_network as export_network
    from artifex.training.run.export import load_exported as load_exported
    from artifex.training.run.loop import Callback as Callback
    from artifex.training.run.loop import Every as Every
    from artifex.training.run.loop import Network as Network
    from artifex.training.run.loop import NonFiniteError as NonFiniteError
    from artifex.training.run.loop import Report as Report
    from artifex.training.run.loop import StepMetrics as StepMetrics
    from artifex.training.run.loop import Trained as Trained
    from artifex.training.run.loop import TrainState as TrainState
    from artifex.training.run.loop import init_state as init_state
    from artifex.training.run.loop import make_train_step as make_train_step
    from artifex.training.run.loop import train as train
    from artifex.training.run.metrics_log import MetricsLog as MetricsLog
    from artifex.training.run.plots import denoising_figure as denoising_figure
    from artifex.training.run.plots import loss_figure as loss_figure
    from artifex.training.run.plots import samples_figure as samples_figure
    from artifex.training.run.preview import Preview as Preview
    from artifex.training.run.sampling import PreviewConfig as PreviewConfig
    from artifex.training.run.sampling import SampleGenerator as SampleGenerator
    from artifex.training.run.sampling import SamplingConfig as SamplingConfig
    from artifex.training.run.signals import Stop as Stop
    from artifex.training.run.trainer import Trainer as Trainer
    from artifex.training.sharding.mesh import MeshConfig as MeshConfig
    from artifex.training.sharding.mesh import global_batch as global_batch
    from artifex.training.sharding.mesh import make_mesh as make_mesh
    from artifex.training.sharding.mesh import state_shardings as state_shardings
    from artifex.training.step.loss_by_level import Levels as Levels
    from artifex.training.step.objective import Draws as Draws
    from artifex.training.step.objective import Objective as Objective

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
    "sharding.mesh": ("MeshConfig", "global_batch", "make_mesh", "state_shardings"),
    "errors": ("CheckpointError",),
    "run.export": ("Exported", "export_network", "load_exported"),
    "run.signals": ("Stop",),
    "run.sampling": (
        "SampleGenerator",
        "PreviewConfig",
        "SamplingConfig",
    ),
    "run.preview": ("Preview",),
    "step.loss_by_level": ("Levels",),
    "run.metrics_log": ("MetricsLog",),
    "checkpoints.checkpointer": ("Checkpointer",),
    "config.choices": (
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
    "config.run": (
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
    "run.loop": (
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
    "step.objective": (
        "Draws",
        "Objective",
    ),
    "config.optimizer": (
        "OptimiserConfig",
        "learning_rate",
        "make_optimiser",
    ),
    "run.plots": (
        "denoising_figure",
        "loss_figure",
        "samples_figure",
    ),
    "config.yaml": (
        "ConfigError",
        "dump_config",
        "parse_config",
        "read_config",
        "write_config",
    ),
    "run.trainer": ("Trainer",),
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
