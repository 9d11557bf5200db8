"""Averages by name, for a run's configuration."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from artifex.training.ema.average import Latest
from artifex.training.ema.constant import EMA
from artifex.training.ema.power import PowerEMA
from artifex.training.section import Section


class NoEMA(Section):
    """No average: samples are drawn with the latest parameters."""

    kind: Literal["none"] = "none"

    def build(self) -> Latest:
        """Build the average."""
        return Latest()


class Constant(Section):
    """An exponential average of a constant decay, with warm-up.

    Attributes:
        decay: in [0, 1); the time constant is about 1 / (1 - decay) updates.
    """

    kind: Literal["constant"] = "constant"
    decay: float = Field(default=EMA.decay, ge=0, lt=1)

    def build(self) -> EMA:
        """Build the average."""
        return EMA(self.decay)


class Power(Section):
    """Power-function averages of several widths, stored at intervals to reconstruct any width after training.

    Attributes:
        sigma_rels: widths relative to the training so far, each in (0, 0.288675]; samples are drawn with the first.
        snapshot_every: updates between stored averages; 16 to 64 in a run are enough for widths between those given.
    """

    kind: Literal["power"] = "power"
    sigma_rels: tuple[float, ...] = (0.05, 0.10)
    snapshot_every: int = Field(default=1000, ge=1)

    @field_validator("sigma_rels")
    @classmethod
    def _possible(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return PowerEMA(value).sigma_rels

    def build(self) -> PowerEMA:
        """Build the averages."""
        return PowerEMA(self.sigma_rels)


EMAConfig = Annotated[NoEMA | Constant | Power, Field(discriminator="kind")]
"""Any average, distinguished by ``kind``."""
