"""The report of a step, and the callbacks that receive it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from artifex.training.step.loss_by_level import Levels


@dataclass(frozen=True)
class Report:
    """One step.

    Attributes:
        step: how many are done, this one included.
        steps: how many there will be.
        loss: of this step.
        gradient_norm: of this step, before clipping.
        skipped: how many steps were skipped so far, since their loss or gradient was not finite.
        levels: losses by noise level since the last window of ``config.log.every`` steps began, still on the device.
    """

    step: int
    steps: int
    loss: float
    gradient_norm: float = 0.0
    skipped: int = 0
    levels: Levels | None = None


@runtime_checkable
class Callback(Protocol):
    """Watches training; it is told of a step while the next one is already running."""

    def __call__(self, report: Report) -> None:
        """Take note of a step."""
        ...
