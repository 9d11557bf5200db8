"""The protocol of a training loss."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, Key

from artifex.schedules import Prediction, Schedule
from artifex.training.step.network import TrainingNetwork
from artifex.training.step.objective import Label, Time, X


@runtime_checkable
class TimedDraws(Protocol):
    """The randomness of one evaluation of a loss: a pytree of arrays, batch first."""

    @property
    def t(self) -> Time:
        """The times, ``(batch,)``."""
        ...


@runtime_checkable
class TrainingObjective(Protocol):
    """A loss, and the meaning of the network's output; ``Objective``, ``ModelObjective`` and ``LatentObjective``."""

    @property
    def schedule(self) -> Schedule:
        """The path from data to noise."""
        ...

    @property
    def prediction(self) -> Prediction:
        """The meaning of the network's output."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of labels; None without labels."""
        ...

    @property
    def learns_variance(self) -> bool:
        """True if the network returns a variance after its prediction."""
        ...

    def draw(self, x0: X, cond: Label | None, key: Key[Array, ""]) -> TimedDraws:
        """Draw the randomness of a batch of clean data."""
        ...

    def losses(self, network: TrainingNetwork, x0: X, draws: Any) -> Float[Array, " b"]:  # noqa: ANN401 -- the draws of ``draw``
        """Return the loss of each sample."""
        ...
