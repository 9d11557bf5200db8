"""Pictures of samples while training goes on, always of the same noise and labels: what changes is the network."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from artifex.schedules import NetworkDenoiser
from artifex.training.ema import Average
from artifex.training.labelled import labelled_picture
from artifex.training.loop import Network, TrainState
from artifex.training.objective import Objective
from artifex.training.pictures import write
from artifex.training.sampling import Drawing

BATCH = 64


class Preview:
    """Draws samples from a state, and writes them as a picture: ``00000500.png`` for step 500.

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
        drawing: Drawing,
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
        denoiser = NetworkDenoiser(self._network.apply, self._prediction, self._average.read(state.average))
        labels = self._drawing.labels(self._count)
        parts = list(self._drawing.draw(denoiser, self._count, labels, self._key, BATCH, self._mesh))
        if jax.process_index() > 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{step:08d}.png"
        write(labelled_picture(np.concatenate(parts), labels, self._classes), path)
        if self._show is not None:
            self._show(step, path)
