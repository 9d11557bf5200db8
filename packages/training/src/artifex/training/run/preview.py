"""Pictures of samples while training goes on, always of the same noise and labels: what changes is the network."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np
from jax.sharding import Mesh

from artifex.schedules import NetworkDenoiser
from artifex.training.ema import Average
from artifex.training.files import replacing
from artifex.training.run.labelled_plots import labelled_picture
from artifex.training.run.loop import Network, TrainState
from artifex.training.run.plots import why_no_picture, write
from artifex.training.run.sampling import Labels, SampleGenerator, Samples
from artifex.training.step.objective import Objective

BATCH: Final = 64


class Preview:
    """Draws samples from a state, and writes them as a picture: ``00000500.png`` for step 500.

    Samples that have no picture, see ``why_no_picture``, are written as arrays ``samples`` and ``labels``:
    ``00000500.npz``. A preview that fails (a full disk, no memory) is left out with a warning, and training goes on; in
    a run of several processes, which draw together, only where the first one fails to write.

    Args:
        folder: for the pictures; made at the first one.
        drawing: how samples are drawn.
        count: how many.
        network: whose parameters the state has.
        objective: what they were trained on.
        average: how its averages are read.
        key: of all that is random.
        show: is told of each picture's step and file.
        mesh: the devices that the state lies on, which draw together; None is one device. Of several processes each
            calls this, and the first one writes.
        classes: names of the labels 0, 1, ..., as far as they have names.
    """

    def __init__(
        self,
        folder: Path,
        drawing: SampleGenerator,
        count: int,
        network: Network,
        objective: Objective,
        average: Average[Any],
        key: jax.Array,
        show: Callable[[int, Path], None] | None = None,
        mesh: Mesh | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._drawing, self._count, self._network, self._key = drawing, count, network, key
        self._prediction, self._average, self._show = objective.prediction, average, show
        self._mesh, self._classes = mesh, classes

    def __call__(self, state: TrainState) -> None:
        """Draw, and write."""
        step = int(state.step)
        labels = self._drawing.labels(self._count)
        try:
            samples = self._draw(state, labels)
        except Exception as error:
            if jax.process_count() > 1:
                raise
            _left_out(step, error)
            return
        if jax.process_index() > 0:
            return
        try:
            self._write(step, samples, labels)
        except Exception as error:
            _left_out(step, error)

    def _draw(self, state: TrainState, labels: Labels | None) -> Samples:
        denoiser = NetworkDenoiser(self._network.apply, self._prediction, self._average.read(state.average))
        return np.concatenate(list(self._drawing.draw(denoiser, self._count, labels, self._key, BATCH, self._mesh)))

    def _write(self, step: int, samples: Samples, labels: Labels | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if why_no_picture(self._drawing.shape) is not None:
            with replacing(self.folder / f"{step:08d}.npz") as file:
                arrays: dict[str, Any] = {"samples": samples, **({} if labels is None else {"labels": labels})}
                np.savez(file, **arrays)
            return
        path = self.folder / f"{step:08d}.png"
        write(labelled_picture(samples, labels, self._classes), path)
        if self._show is not None:
            self._show(step, path)


def _left_out(step: int, error: Exception) -> None:
    why = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
    logging.getLogger(__name__).warning("the preview of step %d was left out: %s", step, " ".join(why.split()))
