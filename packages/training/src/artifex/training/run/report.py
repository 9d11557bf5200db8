"""Reports of steps, and the functions that training calls with them."""

from collections.abc import Callable as Function
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from artifex.kernels.ranges import check_whole
from artifex.training.step.loss_by_level import Levels
from artifex.training.step.state import TrainState


class NonFiniteError(ArithmeticError):
    """The loss or the gradient was not finite for too many steps in a row."""


@dataclass(frozen=True)
class Report:
    """Metrics of one step.

    Attributes:
        step: number of completed steps, this one included.
        steps: total number of steps.
        loss: of this step.
        gradient_norm: of this step, before clipping.
        skipped: number of steps skipped so far because their loss or gradient was not finite.
        levels: losses by noise level since the current window of ``config.log.every`` steps began, still on the device.
    """

    step: int
    steps: int
    loss: float
    gradient_norm: float = 0.0
    skipped: int = 0
    levels: Levels | None = None


@runtime_checkable
class Callback(Protocol):
    """A function called after every step, while the next one is already running."""

    def __call__(self, report: Report) -> None:
        """Receive the report of a step."""
        ...


@dataclass(frozen=True)
class Every:
    """A function of the state to call at intervals: a preview, a snapshot.

    Attributes:
        steps: interval between calls, at least 1.
        do: called with the state, whose arrays the next step donates: copy what is to be kept.
        after_saving: call it after the checkpoint of the same step, so that its failure can't cost the checkpoint.

    Raises:
        ValueError: if ``steps`` is less than 1.
    """

    steps: int
    do: Function[[TrainState], None]
    after_saving: bool = False

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)
