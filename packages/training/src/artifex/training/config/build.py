"""From a run's configuration to the objects that it names: one table a choice."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import jax
from jaxtyping import Array

from artifex.schedules import (
    EDM,
    VE,
    VP,
    X0,
    CosineVP,
    Discrete,
    EDMPreconditioned,
    Epsilon,
    FlowVelocity,
    NoiseLevel,
    Prediction,
    RectifiedFlow,
    ScaledTime,
    Schedule,
    Score,
    Shifted,
    SubVP,
    V,
    betas,
    time_samplers,
    weighting,
)
from artifex.schedules.time_samplers import TimeSampler
from artifex.schedules.weighting import Weighting
from artifex.training.config.choices import (
    CosineVpSchedule,
    DiscreteSchedule,
    EdmSchedule,
    EdmWeight,
    LogitNormalTimes,
    LogNormalTimes,
    MinSnrWeight,
    P2Weight,
    PredictionName,
    RectifiedFlowSchedule,
    ScheduleConfig,
    SigmoidWeight,
    SoftMinSnrWeight,
    StepTimes,
    SubVpSchedule,
    TimesConfig,
    TruncatedSnrWeight,
    UniformTimes,
    UniformWeight,
    UnitWeight,
    VeSchedule,
    VpSchedule,
    WeightConfig,
)
from artifex.training.config.run import RunConfig
from artifex.training.step.objective import Objective

_PREDICTIONS: Final[Mapping[PredictionName, Callable[[float], Prediction]]] = {
    "epsilon": lambda _: Epsilon(),
    "x0": lambda _: X0(),
    "v": lambda _: V(),
    "score": lambda _: Score(),
    "flow_velocity": lambda _: FlowVelocity(),
    "edm": EDMPreconditioned,
}
UNIT: Final = 1000.0
"""The range of the times that networks are made for."""


def schedule(config: ScheduleConfig) -> Schedule:
    """The path from data to noise."""
    match config:
        case DiscreteSchedule():
            ends = {name: value for name in ("start", "end") if (value := getattr(config, name)) is not None}
            table = betas.TABLES[config.betas](config.steps, **ends)
            table = betas.rescale_zero_terminal_snr(table) if config.zero_terminal_snr else table
            return Discrete(table if config.shift == 1 else betas.shifted(table, config.shift))
        case VpSchedule():
            return _shifted(VP(config.beta_min, config.beta_max), config.shift)
        case SubVpSchedule():
            return _shifted(SubVP(config.beta_min, config.beta_max), config.shift)
        case CosineVpSchedule():
            low, high = config.logsnr_min, config.logsnr_max
            path = CosineVP(-math.inf if low is None else low, math.inf if high is None else high)
            return _shifted(path, config.shift)
        case VeSchedule():
            return VE(config.sigma_min, config.sigma_max)
        case EdmSchedule():
            return EDM()
        case RectifiedFlowSchedule():
            return RectifiedFlow(config.shift)


def prediction(config: RunConfig) -> Prediction:
    """What the network says, told times in the range that it is made for."""
    inner = _PREDICTIONS[config.prediction](config.sigma_data)
    factor = 1.0 if isinstance(config.schedule, DiscreteSchedule) else UNIT
    if config.prediction == "edm":
        factor = UNIT
    elif isinstance(config.schedule, EdmSchedule):
        factor = UNIT / config.schedule.sigma_max
    if config.backbone.kind == "edm2":
        factor /= UNIT
    return inner if factor == 1 else ScaledTime(inner, factor)


def weight(config: RunConfig) -> Callable[[NoiseLevel[jax.Array]], Array] | None:
    """The factor of the squared error of what the network says; None is 1."""
    inner = _PREDICTIONS[config.prediction](config.sigma_data)
    chosen: WeightConfig = config.weight or (UniformWeight() if config.prediction == "score" else UnitWeight())
    named: Weighting
    match chosen:
        case UnitWeight():
            return None
        case UniformWeight():
            named = weighting.Uniform(_PREDICTIONS[chosen.of](config.sigma_data))
        case MinSnrWeight():
            named = weighting.MinSNR(chosen.gamma)
        case SoftMinSnrWeight():
            named = weighting.SoftMinSNR(chosen.gamma)
        case TruncatedSnrWeight():
            named = weighting.TruncatedSNR()
        case P2Weight():
            named = weighting.P2(chosen.k, chosen.gamma)
        case EdmWeight():
            named = weighting.EDM(config.sigma_data)
        case SigmoidWeight():
            named = weighting.Sigmoid(chosen.bias)
    if isinstance(named, weighting.Uniform) and named.of == inner:
        return None
    return partial(weighting.weight, named, inner)


def times(config: RunConfig) -> TimeSampler:
    """How times are drawn; where the configuration leaves it out, as the schedule's paper does."""
    chosen: TimesConfig = config.times or _times_of(config.schedule)
    quantile: time_samplers.Quantile
    match chosen:
        case StepTimes():
            assert isinstance(config.schedule, DiscreteSchedule)
            quantile = time_samplers.DiscreteUniform(config.schedule.steps)
        case UniformTimes():
            quantile = time_samplers.Uniform(chosen.low, chosen.high)
        case LogitNormalTimes():
            quantile = time_samplers.LogitNormal(chosen.mean, chosen.std)
        case LogNormalTimes():
            quantile = time_samplers.LogNormal(chosen.mean, chosen.std)
    return time_samplers.LowDiscrepancy(quantile) if chosen.low_discrepancy else quantile


def objective(config: RunConfig, num_classes: int | None) -> Objective:
    """The loss.

    Args:
        config: of the run.
        num_classes: labels that the network knows; None for no condition.
    """
    return Objective(
        schedule(config.schedule),
        prediction(config),
        num_classes=num_classes,
        class_dropout=config.class_dropout,
        times=times(config),
        weight=weight(config),
    )


def _shifted(path: Schedule, factor: float) -> Schedule:
    return path if factor == 1 else Shifted(path, factor)


def _times_of(schedule: ScheduleConfig) -> TimesConfig:
    match schedule:
        case DiscreteSchedule():
            return StepTimes()
        case EdmSchedule():
            return LogNormalTimes()
        case RectifiedFlowSchedule():
            return LogitNormalTimes()
        case VpSchedule() | SubVpSchedule() | VeSchedule():
            # As near to clean data as the papers go.
            return UniformTimes(low=1e-5)
        case CosineVpSchedule():
            return UniformTimes()
