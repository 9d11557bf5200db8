"""The averaged parameters of a run that samples are drawn with."""

from artifex.training.ema import Snapshots
from artifex.training.run.folder import RunFolder
from artifex.training.run.trained import Trained
from artifex.training.step.network import Parameters

AS_TRAINED = "averaged as in training"


def averaged(folder: RunFolder, trained: Trained, width: float | None) -> tuple[Parameters, str]:
    """Return the parameters to draw with, and a description of them.

    Args:
        folder: of the run.
        trained: loaded from it.
        width: of the average as a share of training, reconstructed from the stored ones; None is the run's own.

    Raises:
        ValueError: if a width is given for a run that stored no averages, or it is out of range.
    """
    if width is None:
        return trained.parameters, AS_TRAINED
    snapshots = Snapshots(folder.snapshots)
    stored = [step for step in snapshots.steps() if step <= trained.steps_done]
    if not stored:
        raise ValueError(
            f"an average of width {width:g} needs a run with stored averages, ema: {{kind: power}}; this has none"
        )
    parameters, error = snapshots.reconstruct(width, trained.state.parameters, stored[-1])
    return parameters, f"averaged over a width of {width:g} at step {stored[-1]:,} (error of its profile {error:.1e})"
