"""Which average of a run's parameters samples are drawn with."""

from pathlib import Path

from artifex.training.ema import Snapshots
from artifex.training.run.callbacks import SNAPSHOTS
from artifex.training.run.loop import Parameters, Trained

AS_TRAINED = "averaged as in training"


def averaged(folder: Path, trained: Trained, width: float | None) -> tuple[Parameters, str]:
    """The parameters to draw with, and what they are, in words.

    Args:
        folder: of the run.
        trained: what was read of it.
        width: of the average as a share of training, made of those that the run stored; None is the run's own.

    Raises:
        ValueError: if a width is given for a run that stored no averages, or it is out of range.
    """
    if width is None:
        return trained.parameters, AS_TRAINED
    snapshots = Snapshots(folder / SNAPSHOTS)
    stored = [step for step in snapshots.steps() if step <= trained.steps_done]
    if not stored:
        raise ValueError(
            f"an average of width {width:g} needs a run that stored some, ema: {{kind: power}}; this did not"
        )
    made, left = snapshots.reconstruct(width, trained.state.parameters, stored[-1])
    return made, f"averaged over a width of {width:g} at step {stored[-1]:,} (error of its profile {left:.1e})"
