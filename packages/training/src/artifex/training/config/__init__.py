"""Configuration of a run: frozen sections that validate themselves and build the objects that they name."""

from artifex.training.config.backbones import BackboneConfig as BackboneConfig
from artifex.training.config.optimizer import OptimizerConfig as OptimizerConfig
from artifex.training.config.run import CheckpointConfig as CheckpointConfig
from artifex.training.config.run import LogConfig as LogConfig
from artifex.training.config.run import PrecisionConfig as PrecisionConfig
from artifex.training.config.run import RunConfig as RunConfig
from artifex.training.config.run import TaskConfig as TaskConfig
from artifex.training.config.run import TrainingConfig as TrainingConfig
from artifex.training.config.sampling import PreviewConfig as PreviewConfig
from artifex.training.config.sampling import SamplingConfig as SamplingConfig
from artifex.training.config.schedules import CosineVPSchedule as CosineVPSchedule
from artifex.training.config.schedules import DiscreteSchedule as DiscreteSchedule
from artifex.training.config.schedules import EDMSchedule as EDMSchedule
from artifex.training.config.schedules import RectifiedFlowSchedule as RectifiedFlowSchedule
from artifex.training.config.schedules import SubVPSchedule as SubVPSchedule
from artifex.training.config.schedules import VESchedule as VESchedule
from artifex.training.config.schedules import VPSchedule as VPSchedule
from artifex.training.config.times import LogitNormalTimes as LogitNormalTimes
from artifex.training.config.times import LogNormalTimes as LogNormalTimes
from artifex.training.config.times import StepTimes as StepTimes
from artifex.training.config.times import UniformTimes as UniformTimes
from artifex.training.config.weights import EDMWeight as EDMWeight
from artifex.training.config.weights import MinSNRWeight as MinSNRWeight
from artifex.training.config.weights import P2Weight as P2Weight
from artifex.training.config.weights import SigmoidWeight as SigmoidWeight
from artifex.training.config.weights import SoftMinSNRWeight as SoftMinSNRWeight
from artifex.training.config.weights import TruncatedSNRWeight as TruncatedSNRWeight
from artifex.training.config.weights import UniformWeight as UniformWeight
from artifex.training.config.weights import UnitWeight as UnitWeight
from artifex.training.config.yaml import ConfigError as ConfigError
from artifex.training.config.yaml import dump_config as dump_config
from artifex.training.config.yaml import parse_config as parse_config
from artifex.training.config.yaml import read_config as read_config
from artifex.training.config.yaml import write_config as write_config
from artifex.training.data import DataConfig as DataConfig
from artifex.training.ema import EMAConfig as EMAConfig
from artifex.training.sharding.mesh import MeshConfig as MeshConfig

__all__ = [
    "BackboneConfig",
    "CheckpointConfig",
    "ConfigError",
    "CosineVPSchedule",
    "DataConfig",
    "DiscreteSchedule",
    "EDMSchedule",
    "EDMWeight",
    "EMAConfig",
    "LogConfig",
    "LogNormalTimes",
    "LogitNormalTimes",
    "MeshConfig",
    "MinSNRWeight",
    "OptimizerConfig",
    "P2Weight",
    "PrecisionConfig",
    "PreviewConfig",
    "RectifiedFlowSchedule",
    "RunConfig",
    "SamplingConfig",
    "SigmoidWeight",
    "SoftMinSNRWeight",
    "StepTimes",
    "SubVPSchedule",
    "TaskConfig",
    "TrainingConfig",
    "TruncatedSNRWeight",
    "UniformTimes",
    "UniformWeight",
    "UnitWeight",
    "VESchedule",
    "VPSchedule",
    "dump_config",
    "parse_config",
    "read_config",
    "write_config",
]
