"""Noise schedules by name, with their training times and sampling grids."""

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from artifex.schedules import (
    EDM,
    VE,
    VP,
    CosineVP,
    Discrete,
    RectifiedFlow,
    Schedule,
    Shifted,
    SubVP,
    betas,
    grid,
)
from artifex.schedules.arrays import HostArray
from artifex.schedules.betas import BetaSchedule
from artifex.training.config.schedule_section import NETWORK_TIME, ScheduleSection
from artifex.training.config.times import LogitNormalTimes, LogNormalTimes, StepTimes, TimesConfig, UniformTimes
from artifex.training.section import kinds

Beta = Annotated[float, Field(gt=0, lt=1)]


class DiscreteSchedule(ScheduleSection):
    """DDPM's chain.

    Attributes:
        betas: the table, a function of artifex.schedules.betas.
        steps: number of steps of the chain.
        start: the first beta of linear, scaled_linear, sigmoid and geometric; null is the table's default.
        end: their last.
        zero_terminal_snr: rescale the table so that nothing of the data is left at its end.
        shift: factor on sigma / alpha; above 1 for more noise at every time.
    """

    TIMES = ("steps", "uniform")

    kind: Literal["discrete"] = "discrete"
    betas: BetaSchedule = "cosine"
    steps: PositiveInt = 1000
    start: Beta | None = None
    end: Beta | None = None
    zero_terminal_snr: bool = False
    shift: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _ends(self) -> "DiscreteSchedule":
        given = [name for name in ("start", "end") if getattr(self, name) is not None]
        if given and self.betas not in ("linear", "scaled_linear", "sigmoid", "geometric"):
            raise ValueError(f"{given[0]} must be null for betas {self.betas!r}, which has no such parameter")
        return self

    def build(self) -> Schedule:
        """Build the schedule."""
        ends = {name: value for name in ("start", "end") if (value := getattr(self, name)) is not None}
        table = betas.TABLES[self.betas](self.steps, **ends)
        table = betas.rescale_zero_terminal_snr(table) if self.zero_terminal_snr else table
        return Discrete(table if self.shift == 1 else betas.shifted(table, self.shift))

    def default_times(self) -> TimesConfig:
        """Return uniform times over the steps."""
        return StepTimes()

    @property
    def time_range(self) -> tuple[float, float]:
        """From before the first step to the last."""
        return -1.0, self.steps - 1.0

    @property
    def time_scale(self) -> float:
        """1: networks count steps."""
        return 1.0


class VPSchedule(ScheduleSection):
    """The variance-preserving path of a linear beta(t).

    Attributes:
        beta_min: beta(0).
        beta_max: beta(1).
        shift: factor on sigma / alpha; above 1 for more noise at every time.
    """

    kind: Literal["vp"] = "vp"
    beta_min: PositiveFloat = 0.1
    beta_max: PositiveFloat = 20.0
    shift: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _rises(self) -> "VPSchedule":
        _check_rises("beta", self.beta_min, self.beta_max)
        return self

    def build(self) -> Schedule:
        """Build the schedule."""
        return _shifted(VP(self.beta_min, self.beta_max), self.shift)


class SubVPSchedule(ScheduleSection):
    """The sub-variance-preserving path of a linear beta(t).

    Attributes:
        beta_min: beta(0).
        beta_max: beta(1).
        shift: factor on sigma / alpha; above 1 for more noise at every time.
    """

    kind: Literal["sub_vp"] = "sub_vp"
    beta_min: PositiveFloat = 0.1
    beta_max: PositiveFloat = 20.0
    shift: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _rises(self) -> "SubVPSchedule":
        _check_rises("beta", self.beta_min, self.beta_max)
        return self

    def build(self) -> Schedule:
        """Build the schedule."""
        return _shifted(SubVP(self.beta_min, self.beta_max), self.shift)


class CosineVPSchedule(ScheduleSection):
    """The cosine path in continuous time.

    Attributes:
        logsnr_min: log-SNR at t = 1; null is minus infinity.
        logsnr_max: log-SNR at t = 0; null is infinity.
        shift: factor on sigma / alpha; above 1 for more noise at every time.
    """

    kind: Literal["cosine_vp"] = "cosine_vp"
    logsnr_min: float | None = None
    logsnr_max: float | None = None
    shift: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _falls(self) -> "CosineVPSchedule":
        if self.logsnr_min is not None and self.logsnr_max is not None:
            _check_rises("logsnr", self.logsnr_min, self.logsnr_max)
        return self

    def build(self) -> Schedule:
        """Build the schedule."""
        low, high = self.logsnr_min, self.logsnr_max
        path = CosineVP(-math.inf if low is None else low, math.inf if high is None else high)
        return _shifted(path, self.shift)

    def default_times(self) -> TimesConfig:
        """Return uniform times over [0, 1]."""
        return UniformTimes()


class VESchedule(ScheduleSection):
    """The variance-exploding path: unscaled data, and noise that grows geometrically.

    Attributes:
        sigma_min: noise at t = 0.
        sigma_max: noise at t = 1; large against the data.
    """

    kind: Literal["ve"] = "ve"
    sigma_min: PositiveFloat = 0.01
    sigma_max: PositiveFloat = 50.0

    @model_validator(mode="after")
    def _rises(self) -> "VESchedule":
        _check_rises("sigma", self.sigma_min, self.sigma_max)
        return self

    def build(self) -> Schedule:
        """Build the schedule."""
        return VE(self.sigma_min, self.sigma_max)


class EDMSchedule(ScheduleSection):
    """EDM's path, whose time is sigma.

    Attributes:
        sigma_min: the smallest sigma of a sampler's grid.
        sigma_max: the largest, at which samplers start.
    """

    TIMES = ("log_normal", "uniform")

    kind: Literal["edm"] = "edm"
    sigma_min: PositiveFloat = 0.002
    sigma_max: PositiveFloat = 80.0

    @model_validator(mode="after")
    def _rises(self) -> "EDMSchedule":
        _check_rises("sigma", self.sigma_min, self.sigma_max)
        return self

    def build(self) -> Schedule:
        """Build the schedule."""
        return EDM()

    def default_times(self) -> TimesConfig:
        """Return log-normal times."""
        return LogNormalTimes()

    def timesteps(self, n: int) -> HostArray:
        """Return Karras' grid of ``n`` steps from ``sigma_max`` to ``sigma_min``."""
        return grid.karras(self.build(), n, self.sigma_max, self.sigma_min)

    @property
    def time_range(self) -> tuple[float, float]:
        """From 0 to infinity."""
        return 0.0, math.inf

    @property
    def time_scale(self) -> float:
        """Factor that maps ``sigma_max`` to the end of a network's times."""
        return NETWORK_TIME / self.sigma_max


class RectifiedFlowSchedule(ScheduleSection):
    """The straight path from data to noise.

    Attributes:
        shift: factor on sigma / alpha; above 1 for more noise at every time.
    """

    kind: Literal["rectified_flow"] = "rectified_flow"
    shift: PositiveFloat = 1.0

    def build(self) -> Schedule:
        """Build the schedule."""
        return RectifiedFlow(self.shift)

    def default_times(self) -> TimesConfig:
        """Return logit-normal times."""
        return LogitNormalTimes()


ScheduleConfig = Annotated[
    DiscreteSchedule | VPSchedule | SubVPSchedule | CosineVPSchedule | VESchedule | EDMSchedule | RectifiedFlowSchedule,
    Field(discriminator="kind"),
    kinds("discrete"),
]


def _shifted(path: Schedule, factor: float) -> Schedule:
    return path if factor == 1 else Shifted(path, factor)


def _check_rises(name: str, low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"{name}_min must be below {name}_max = {high}, got {low}")
