"""All that looks on while a run trains, and writes into its folder: metrics, previews, stored averages."""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jax

from artifex.training.config.optimizer import learning_rate
from artifex.training.ema import Power, PowerEma, Snapshots
from artifex.training.run.loop import Callback, Every, Network, Report
from artifex.training.run.metrics_log import MetricsLog
from artifex.training.run.plots import why_no_picture
from artifex.training.run.preview import Preview
from artifex.training.run.sampling import PreviewConfig, SampleGenerator

if TYPE_CHECKING:
    from artifex.training.run.trainer import Trainer

METRICS: Final = "metrics.jsonl"
TENSORBOARD: Final = "tensorboard"
PREVIEWS: Final = "previews"
SNAPSHOTS: Final = "snapshots"


def check_places(folder: Path) -> None:
    """Raise an OSError for what is in the way of a run's results, and would end it later.

    Raises:
        NotADirectoryError: if there is a file where a folder will be.
        IsADirectoryError: if there is a folder where a file will be.
        PermissionError: if a folder of an earlier part of the run can't be written to.
    """
    if (folder / METRICS).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(folder / METRICS))
    for name in (PREVIEWS, SNAPSHOTS, TENSORBOARD):
        if (folder / name).exists() and not (folder / name).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder / name))
        if (folder / name).exists() and not os.access(folder / name, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder / name))


@contextmanager
def watching(
    trainer: "Trainer", folder: Path, done: int, key: jax.Array, callback: Callback | None
) -> Iterator[tuple[Callback, list[Every]]]:
    """What ``train`` calls of it, as the configuration says; what the folder holds of steps after ``done`` goes.

    Of several processes the first one alone writes.

    Args:
        trainer: the run.
        folder: of the run.
        done: how many steps it has behind it.
        key: what previews are drawn from.
        callback: another one, called first.
    """
    config = trainer.config
    if jax.process_index() > 0:
        yield callback or (lambda report: None), _at_intervals(trainer, folder, done, key, None)
        return
    with MetricsLog(
        folder / METRICS,
        config.log.every,
        done=done,
        batch_size=config.batch_size,
        learning_rate=learning_rate(config.optimizer, config.steps),
        board=folder / TENSORBOARD if config.log.tensorboard else None,
    ) as log:

        def tell(report: Report) -> None:
            if callback is not None:
                callback(report)
            log(report)

        yield tell, _at_intervals(trainer, folder, done, key, log.show)


def drawing_of(trainer: "Trainer") -> SampleGenerator:
    """How samples of a run are drawn, as its previews say."""
    config, objective = trainer.config, trainer.objective
    return SampleGenerator.of(
        config.preview or PreviewConfig(), config.schedule, objective.schedule, trainer.shape,
        objective.num_classes,
    )  # fmt: skip


def _at_intervals(
    trainer: "Trainer", folder: Path, done: int, key: jax.Array, show: Callable[[int, Path], None] | None
) -> list[Every]:
    """What draws, and what stores averages of which any width is to be made after training."""
    config, average, out = trainer.config, trainer.average, list[Every]()
    ema = config.ema
    if isinstance(ema, Power) and isinstance(average, PowerEma):
        snapshots = Snapshots(folder / SNAPSHOTS)
        snapshots.drop_after(done)
        out.append(Every(ema.snapshot_every, lambda state: snapshots.save(int(state.step), average, state.average)))
    if config.preview is not None:
        why = why_no_picture(trainer.shape)
        if why is not None and jax.process_index() == 0:
            logging.getLogger(__name__).warning("previews are written as npz files: %s", why)
        draw = Preview(
            folder / PREVIEWS, drawing_of(trainer), config.preview.count, Network(trainer.network), trainer.objective,
            average, key, show, trainer.mesh, trainer.classes,
        )  # fmt: skip
        out.append(Every(config.preview.every, draw, after_saving=True))
    return out
