"""Noise schedules, predictions, time grids and denoisers for diffusion models."""

from artifex.schedules import betas as betas
from artifex.schedules import grid as grid
from artifex.schedules import timesteps as timesteps
from artifex.schedules import weighting as weighting
from artifex.schedules.by_level import ByLevel as ByLevel
from artifex.schedules.continuous import EDM as EDM
from artifex.schedules.continuous import VE as VE
from artifex.schedules.continuous import VP as VP
from artifex.schedules.continuous import CosineVP as CosineVP
from artifex.schedules.continuous import RectifiedFlow as RectifiedFlow
from artifex.schedules.continuous import Shifted as Shifted
from artifex.schedules.continuous import SubVP as SubVP
from artifex.schedules.denoiser import Clipped as Clipped
from artifex.schedules.denoiser import ConditionalDenoiser as ConditionalDenoiser
from artifex.schedules.denoiser import Denoiser as Denoiser
from artifex.schedules.denoiser import DynamicallyThresholded as DynamicallyThresholded
from artifex.schedules.denoiser import Estimate as Estimate
from artifex.schedules.denoiser import Mapped as Mapped
from artifex.schedules.denoiser import NetworkDenoiser as NetworkDenoiser
from artifex.schedules.denoiser import halves as halves
from artifex.schedules.denoiser import on_clean as on_clean
from artifex.schedules.discrete import Discrete as Discrete
from artifex.schedules.importance import Importance as Importance
from artifex.schedules.level import DefaultGrid as DefaultGrid
from artifex.schedules.level import NoiseLevel as NoiseLevel
from artifex.schedules.level import Schedule as Schedule
from artifex.schedules.level import add_noise as add_noise
from artifex.schedules.level import expand as expand
from artifex.schedules.level import mix as mix
from artifex.schedules.namespace import Host as Host
from artifex.schedules.namespace import T as T
from artifex.schedules.namespace import namespace as namespace
from artifex.schedules.preconditioned import Preconditioned as Preconditioned
from artifex.schedules.prediction import Clean as Clean
from artifex.schedules.prediction import Epsilon as Epsilon
from artifex.schedules.prediction import Flow as Flow
from artifex.schedules.prediction import Prediction as Prediction
from artifex.schedules.prediction import Score as Score
from artifex.schedules.prediction import Velocity as Velocity
from artifex.schedules.prediction import convert as convert
from artifex.schedules.prediction import pair as pair
from artifex.schedules.record import record as record
from artifex.schedules.record import static as static
from artifex.schedules.record import traceable as traceable
from artifex.schedules.timesteps import TimeSampler as TimeSampler
from artifex.schedules.variational import step_divergence as step_divergence
from artifex.schedules.weighting import Weighting as Weighting

__all__ = [
    "EDM",
    "VE",
    "VP",
    "ByLevel",
    "Clean",
    "Clipped",
    "ConditionalDenoiser",
    "CosineVP",
    "DefaultGrid",
    "Denoiser",
    "Discrete",
    "DynamicallyThresholded",
    "Epsilon",
    "Estimate",
    "Flow",
    "Host",
    "Importance",
    "Mapped",
    "NetworkDenoiser",
    "NoiseLevel",
    "Preconditioned",
    "Prediction",
    "RectifiedFlow",
    "Schedule",
    "Score",
    "Shifted",
    "SubVP",
    "T",
    "TimeSampler",
    "Velocity",
    "Weighting",
    "add_noise",
    "betas",
    "convert",
    "expand",
    "grid",
    "halves",
    "mix",
    "namespace",
    "on_clean",
    "pair",
    "record",
    "static",
    "step_divergence",
    "timesteps",
    "traceable",
    "weighting",
]
