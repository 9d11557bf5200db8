"""The callbacks of a run: metrics, previews and stored averages, written into its folder."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax

from artifex.training.config.optimizer import learning_rate
from artifex.training.config.run import RunConfig
from artifex.training.config.sampling import PreviewConfig
from artifex.training.ema import Power, PowerEMA, Snapshots
from artifex.training.run.folder import RunFolder
from artifex.training.run.keys import sampling_key
from artifex.training.run.learner import Learner
from artifex.training.run.metrics_log import MetricsLog
from artifex.training.run.plots import why_no_picture
from artifex.training.run.preview import Preview
from artifex.training.run.report import Callback, Every, Report
from artifex.training.run.sampling import SampleGenerator

Show = Callable[[int, Path], None]


def preview_generator(config: RunConfig, learner: Learner, shape: tuple[int, ...]) -> SampleGenerator:
    """Make the generator of a run's previews; without previews, of samples in the default settings.

    Raises:
        ValueError: if the sampler can't take so many steps on the schedule.
    """
    return SampleGenerator.from_learner(config.preview or PreviewConfig(), config.schedule, learner, shape)


@dataclass(frozen=True)
class RunCallbacks:
    """The callbacks that a configuration requests; of several processes only the first one writes.

    Attributes:
        config: of the run.
        learner: the network and its average.
        folder: of the run.
        shape: of one example of the data.
        classes: names of the labels 0, 1, ..., as far as they have names.
    """

    config: RunConfig
    learner: Learner
    folder: RunFolder
    shape: tuple[int, ...]
    classes: Sequence[str] = ()

    @contextmanager
    def open(self, done: int, callback: Callback | None) -> Iterator[tuple[Callback, list[Every]]]:
        """Open the files, and delete their records of steps after ``done``.

        Args:
            done: number of completed steps.
            callback: another callback, called first.
        """
        config, folder = self.config, self.folder
        if jax.process_index() > 0:
            yield callback or (lambda report: None), self._at_intervals(done, None)
            return
        with MetricsLog(
            folder.metrics,
            config.log.every,
            done=done,
            batch_size=config.batch_size,
            learning_rate=learning_rate(config.optimizer, config.steps),
            board=folder.tensorboard if config.log.tensorboard else None,
        ) as log:

            def call(report: Report) -> None:
                if callback is not None:
                    callback(report)
                log(report)

            yield call, self._at_intervals(done, log.show)

    def _at_intervals(self, done: int, show: Show | None) -> list[Every]:
        config, average, out = self.config, self.learner.average, list[Every]()
        ema = config.ema
        if isinstance(ema, Power) and isinstance(average, PowerEMA):
            snapshots = Snapshots(self.folder.snapshots)
            snapshots.drop_after(done)
            out.append(Every(ema.snapshot_every, lambda state: snapshots.save(int(state.step), average, state.average)))
        if config.preview is not None:
            reason = why_no_picture(self.shape)
            if reason is not None and jax.process_index() == 0:
                logging.getLogger(__name__).warning("previews are written as npz files: %s", reason)
            generator = preview_generator(config, self.learner, self.shape)
            key = sampling_key(config.seed)
            preview = Preview(
                self.folder.previews, generator, config.preview.count, self.learner, key, show, self.classes
            )
            out.append(Every(config.preview.every, preview, after_saving=True))
        return out
