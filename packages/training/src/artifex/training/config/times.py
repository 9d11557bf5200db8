"""Distributions of training times."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from artifex.schedules import time_samplers
from artifex.schedules.time_samplers import TimeSampler
from artifex.training.section import Section, kinds


class StepTimes(Section):
    """Uniform over the steps of a discrete chain.

    Attributes:
        low_discrepancy: spread the times of a batch evenly.
    """

    kind: Literal["steps"] = "steps"
    low_discrepancy: bool = True

    def build(self, steps: int) -> TimeSampler:
        """Build the distribution over the steps of a chain."""
        return _spread(time_samplers.DiscreteUniform(steps), self.low_discrepancy)


class UniformTimes(Section):
    """Uniform over an interval.

    Attributes:
        low: the first time, in the schedule's unit.
        high: the last.
        low_discrepancy: spread the times of a batch evenly.
    """

    kind: Literal["uniform"] = "uniform"
    low: float = 0.0
    high: float = 1.0
    low_discrepancy: bool = True

    @model_validator(mode="after")
    def _rises(self) -> "UniformTimes":
        if not self.low < self.high:
            raise ValueError(f"low must be below high = {self.high}, got {self.low}")
        return self

    def build(self, steps: int) -> TimeSampler:
        """Build the distribution; ``steps`` has no effect."""
        return _spread(time_samplers.Uniform(self.low, self.high), self.low_discrepancy)


class LogitNormalTimes(Section):
    """Logit-normal: times in (0, 1), most of them in the middle.

    Attributes:
        mean: of logit(t); positive for more noise.
        std: of logit(t).
        low_discrepancy: spread the times of a batch evenly.
    """

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    std: PositiveFloat = 1.0
    low_discrepancy: bool = True

    def build(self, steps: int) -> TimeSampler:
        """Build the distribution; ``steps`` has no effect."""
        return _spread(time_samplers.LogitNormal(self.mean, self.std), self.low_discrepancy)


class LogNormalTimes(Section):
    """Log-normal, for the schedule edm, whose time is sigma.

    Attributes:
        mean: of log(sigma).
        std: of log(sigma).
        low_discrepancy: spread the times of a batch evenly.
    """

    kind: Literal["log_normal"] = "log_normal"
    mean: float = -1.2
    std: PositiveFloat = 1.2
    low_discrepancy: bool = True

    def build(self, steps: int) -> TimeSampler:
        """Build the distribution; ``steps`` has no effect."""
        return _spread(time_samplers.LogNormal(self.mean, self.std), self.low_discrepancy)


TimesConfig = Annotated[
    StepTimes | UniformTimes | LogitNormalTimes | LogNormalTimes, Field(discriminator="kind"), kinds()
]  # fmt: skip


Distribution = (
    time_samplers.DiscreteUniform | time_samplers.Uniform | time_samplers.LogitNormal | time_samplers.LogNormal
)


def _spread(quantile: Distribution, low_discrepancy: bool) -> TimeSampler:
    return time_samplers.LowDiscrepancy(quantile) if low_discrepancy else quantile
