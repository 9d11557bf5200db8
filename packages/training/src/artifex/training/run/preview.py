"""Pictures of samples during training, always from the same noise and labels: only the network changes."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np

from artifex.training.files import replacing
from artifex.training.run.labeled_plots import labeled_picture
from artifex.training.run.learner import Learner
from artifex.training.run.plots import why_no_picture, write
from artifex.training.run.sampling import Labels, SampleGenerator, Samples
from artifex.training.step.state import TrainState

BATCH: Final = 64


class Preview:
    """Draw samples from a state, and write them as a picture: ``00000500.png`` for step 500.

    Samples without a picture, see ``why_no_picture``, are written as arrays ``samples`` and ``labels``:
    ``00000500.npz``. A preview that fails (a full disk, no memory) is skipped with a warning, and training continues;
    in a run of several processes, which sample together, only if the first one fails to write.

    Sampling is data-parallel over the learner's mesh. Of several processes each calls this, and the first one writes.

    Args:
        folder: for the pictures; created at the first one.
        generator: of the samples.
        count: number of samples.
        learner: the network and its average.
        key: of all randomness.
        show: called with each picture's step and file.
        classes: names of the labels 0, 1, ..., as far as they have names.
    """

    def __init__(
        self,
        folder: Path,
        generator: SampleGenerator,
        count: int,
        learner: Learner,
        key: jax.Array,
        show: Callable[[int, Path], None] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._generator, self._count, self._learner, self._key = generator, count, learner, key
        self._show, self._classes = show, classes

    def __call__(self, state: TrainState) -> None:
        """Draw the samples and write them."""
        step = int(state.step)
        labels = self._generator.labels(self._count)
        try:
            samples = self._draw(state, labels)
        except Exception as error:
            if jax.process_count() > 1:
                raise
            _warn(step, error)
            return
        if jax.process_index() > 0:
            return
        try:
            self._write(step, samples, labels)
        except Exception as error:
            _warn(step, error)

    def _draw(self, state: TrainState, labels: Labels | None) -> Samples:
        learner = self._learner
        denoiser = learner.denoiser(learner.average.read(state.average))
        batches = self._generator.draw(denoiser, self._count, labels, self._key, BATCH, learner.mesh)
        return np.concatenate(list(batches))

    def _write(self, step: int, samples: Samples, labels: Labels | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if why_no_picture(self._generator.shape) is not None:
            with replacing(self.folder / f"{step:08d}.npz") as file:
                arrays: dict[str, Any] = {"samples": samples, **({} if labels is None else {"labels": labels})}
                np.savez(file, **arrays)
            return
        path = self.folder / f"{step:08d}.png"
        write(labeled_picture(samples, labels, self._classes), path)
        if self._show is not None:
            self._show(step, path)


def _warn(step: int, error: Exception) -> None:
    reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
    logging.getLogger(__name__).warning("the preview of step %d was skipped: %s", step, " ".join(reason.split()))
