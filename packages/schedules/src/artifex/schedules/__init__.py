"""Noise schedules, predictions, time grids and denoisers for diffusion models."""

from artifex.schedules import betas as betas
from artifex.schedules import grid as grid
from artifex.schedules import time_samplers as time_samplers
from artifex.schedules import weighting as weighting
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
from artifex.schedules.denoiser import Mapped as Mapped
from artifex.schedules.denoiser import NetworkDenoiser as NetworkDenoiser
from artifex.schedules.denoiser import map_x0 as map_x0
from artifex.schedules.denoiser import split_variance as split_variance
from artifex.schedules.discrete import Discrete as Discrete
from artifex.schedules.edm_preconditioned import EDMPreconditioned as EDMPreconditioned
from artifex.schedules.level import NoiseLevel as NoiseLevel
from artifex.schedules.level import Schedule as Schedule
from artifex.schedules.level import add_noise as add_noise
from artifex.schedules.level import diffuse as diffuse
from artifex.schedules.level import expand as expand
from artifex.schedules.loss_second_moment import LossSecondMoment as LossSecondMoment
from artifex.schedules.prediction import X0 as X0
from artifex.schedules.prediction import Epsilon as Epsilon
from artifex.schedules.prediction import FlowVelocity as FlowVelocity
from artifex.schedules.prediction import Prediction as Prediction
from artifex.schedules.prediction import Score as Score
from artifex.schedules.prediction import V as V
from artifex.schedules.prediction import convert as convert
from artifex.schedules.prediction import to_x0_eps as to_x0_eps
from artifex.schedules.scaled_time import ScaledTime as ScaledTime
from artifex.schedules.shapes import Estimate as Estimate
from artifex.schedules.time_samplers import TimeSampler as TimeSampler
from artifex.schedules.value_by_time import ValueByTime as ValueByTime
from artifex.schedules.vlb import vlb_term as vlb_term
from artifex.schedules.weighting import Weighting as Weighting

__all__ = [
    "EDM",
    "VE",
    "VP",
    "X0",
    "Clipped",
    "ConditionalDenoiser",
    "CosineVP",
    "Denoiser",
    "Discrete",
    "DynamicallyThresholded",
    "EDMPreconditioned",
    "Epsilon",
    "Estimate",
    "FlowVelocity",
    "LossSecondMoment",
    "Mapped",
    "NetworkDenoiser",
    "NoiseLevel",
    "Prediction",
    "RectifiedFlow",
    "ScaledTime",
    "Schedule",
    "Score",
    "Shifted",
    "SubVP",
    "TimeSampler",
    "V",
    "ValueByTime",
    "Weighting",
    "add_noise",
    "betas",
    "convert",
    "diffuse",
    "expand",
    "grid",
    "map_x0",
    "split_variance",
    "time_samplers",
    "to_x0_eps",
    "vlb_term",
    "weighting",
]
