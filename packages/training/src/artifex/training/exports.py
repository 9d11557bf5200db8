"""The public names of ``artifex.training``."""

from artifex.training.checkpoints.checkpointer import Checkpointer as Checkpointer
from artifex.training.config import BackboneConfig as BackboneConfig
from artifex.training.config import CheckpointConfig as CheckpointConfig
from artifex.training.config import ConfigError as ConfigError
from artifex.training.config import MeshConfig as MeshConfig
from artifex.training.config import OptimizerConfig as OptimizerConfig
from artifex.training.config import PreviewConfig as PreviewConfig
from artifex.training.config import RunConfig as RunConfig
from artifex.training.config import SamplingConfig as SamplingConfig
from artifex.training.config import TrainingConfig as TrainingConfig
from artifex.training.config import parse_config as parse_config
from artifex.training.config import read_config as read_config
from artifex.training.config import write_config as write_config
from artifex.training.data import Batch as Batch
from artifex.training.data import Batches as Batches
from artifex.training.data import Dataset as Dataset
from artifex.training.data import Digits as Digits
from artifex.training.data import LabeledImages as LabeledImages
from artifex.training.data import Toy as Toy
from artifex.training.data import digits as digits
from artifex.training.data import open_dataset as open_dataset
from artifex.training.ema import Ema as Ema
from artifex.training.errors import CheckpointError as CheckpointError
from artifex.training.run.export import export_network as export_network
from artifex.training.run.export import load_exported as load_exported
from artifex.training.run.learner import Learner as Learner
from artifex.training.run.loop import train as train
from artifex.training.run.report import Callback as Callback
from artifex.training.run.report import Every as Every
from artifex.training.run.report import NonFiniteError as NonFiniteError
from artifex.training.run.report import Report as Report
from artifex.training.run.sampling import SampleGenerator as SampleGenerator
from artifex.training.run.signals import Stop as Stop
from artifex.training.run.trained import Trained as Trained
from artifex.training.run.trainer import Trainer as Trainer
from artifex.training.step.network import Network as Network
from artifex.training.step.objective import Objective as Objective
from artifex.training.step.state import TrainState as TrainState
from artifex.training.step.state import init_state as init_state
from artifex.training.step.train_step import make_train_step as make_train_step

__all__ = [
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
    "Ema",
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
