"""Averages by name, for a run's configuration."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from artifex.training.ema.average import Latest
from artifex.training.ema.constant import Ema
from artifex.training.ema.power import PowerEma
from artifex.training.section import Section


class NoEma(Section):
    """No average: samples are drawn with the latest parameters."""

    kind: Literal["none"] = "none"

    def build(self) -> Latest:
        """The average that this names."""
        return Latest()


class Constant(Section):
    """An exponential average of a constant decay, with warm-up.

    Attributes:
        decay: in [0, 1); the average looks back about 1 / (1 - decay) updates.
    """

    kind: Literal["constant"] = "constant"
    decay: float = Field(default=Ema.decay, ge=0, lt=1)

    def build(self) -> Ema:
        """The average that this names."""
        return Ema(self.decay)


class Power(Section):
    """Power-function averages of several widths, stored at intervals, from which any width can be made after training.

    Attributes:
        sigma_rels: widths as parts of the training so far, each in (0, 0.288675]; samples are drawn with the first.
        snapshot_every: updates between stored averages. Some 16 to 64 of them in a run are enough for widths between
            those given.
    """

    kind: Literal["power"] = "power"
    sigma_rels: tuple[float, ...] = (0.05, 0.10)
    snapshot_every: int = Field(default=1000, ge=1)

    @field_validator("sigma_rels")
    @classmethod
    def _possible(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return PowerEma(value).sigma_rels

    def build(self) -> PowerEma:
        """The averages that this names."""
        return PowerEma(self.sigma_rels)


EmaConfig = Annotated[NoEma | Constant | Power, Field(discriminator="kind")]
"""One of them, told apart by ``kind``."""
