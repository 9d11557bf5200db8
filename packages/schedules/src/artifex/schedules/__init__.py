"""Noise schedules, predictions, time grids and denoisers for diffusion models."""

from artifex.schedules import betas as betas
from artifex.schedules import grid as grid
from artifex.schedules.denoiser import Clipped as Clipped
from artifex.schedules.denoiser import ConditionalDenoiser as ConditionalDenoiser
from artifex.schedules.denoiser import Denoiser as Denoiser
from artifex.schedules.denoiser import NetworkDenoiser as NetworkDenoiser
from artifex.schedules.discrete import Discrete as Discrete
from artifex.schedules.level import NoiseLevel as NoiseLevel
from artifex.schedules.level import Schedule as Schedule
from artifex.schedules.level import add_noise as add_noise
from artifex.schedules.level import expand as expand
from artifex.schedules.level import mix as mix
from artifex.schedules.namespace import Host as Host
from artifex.schedules.namespace import T as T
from artifex.schedules.namespace import namespace as namespace
from artifex.schedules.prediction import Clean as Clean
from artifex.schedules.prediction import Epsilon as Epsilon
from artifex.schedules.prediction import Prediction as Prediction
from artifex.schedules.prediction import Velocity as Velocity
from artifex.schedules.record import record as record
from artifex.schedules.record import static as static
from artifex.schedules.record import traceable as traceable

__all__ = [
    "Clean",
    "Clipped",
    "ConditionalDenoiser",
    "Denoiser",
    "Discrete",
    "Epsilon",
    "Host",
    "NetworkDenoiser",
    "NoiseLevel",
    "Prediction",
    "Schedule",
    "T",
    "Velocity",
    "add_noise",
    "betas",
    "expand",
    "grid",
    "mix",
    "namespace",
    "record",
    "static",
    "traceable",
]
