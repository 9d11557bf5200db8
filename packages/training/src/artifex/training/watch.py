"""All that looks on while a run trains, and writes into its folder: metrics, previews, stored averages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jax

from artifex.training.distributed import on_host
from artifex.training.ema import Power, PowerEma, Snapshots
from artifex.training.logs import MetricsLog
from artifex.training.loop import Callback, Every, Network, Report, TrainState
from artifex.training.optimiser import learning_rate
from artifex.training.preview import Preview
from artifex.training.sampling import Drawing, PreviewConfig

if TYPE_CHECKING:
    from artifex.training.trainer import Trainer

METRICS: Final = "metrics.jsonl"
TENSORBOARD: Final = "tensorboard"
PREVIEWS: Final = "previews"
SNAPSHOTS: Final = "snapshots"


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
        yield callback or (lambda report: None), [*_snapshots(trainer, folder, done), *_previews(trainer, None)]
        return
    with MetricsLog(
        folder / METRICS,
        config.log.every,
        done=done,
        batch_size=config.batch_size,
        learning_rate=learning_rate(config.optimiser, config.steps),
        board=folder / TENSORBOARD if config.log.tensorboard else None,
    ) as log:

        def tell(report: Report) -> None:
            if callback is not None:
                callback(report)
            log(report)

        yield (
            tell,
            [
                *_snapshots(trainer, folder, done),
                *_previews(trainer, partial(_preview, trainer, folder, key, log.show)),
            ],
        )


def drawing_of(trainer: "Trainer") -> Drawing:
    """How samples of a run are drawn, as its previews say."""
    config, objective = trainer.config, trainer.objective
    return Drawing.of(
        config.preview or PreviewConfig(), config.schedule, objective.schedule, trainer.data.shape,
        objective.num_classes,
    )  # fmt: skip


def _previews(trainer: "Trainer", preview: Callable[[], Preview] | None) -> Iterator[Every]:
    """What draws; of several processes the first one alone, from a copy that all have a part in."""
    config = trainer.config.preview
    if config is None:
        return
    draw = None if preview is None else preview()

    def do(state: TrainState) -> None:
        mine = state if jax.process_count() == 1 else state._replace(average=on_host(state.average))
        if draw is not None:
            draw(mine)

    yield Every(config.every, do)


def _preview(trainer: "Trainer", folder: Path, key: jax.Array, show: Callable[[int, Path], None]) -> Preview:
    count = (trainer.config.preview or PreviewConfig()).count
    network = Network(trainer.network)
    return Preview(
        folder / PREVIEWS, drawing_of(trainer), count, network, trainer.objective, trainer.average, key, show
    )


def _snapshots(trainer: "Trainer", folder: Path, done: int) -> Iterator[Every]:
    """What stores the averages, where any width is to be made of them after training."""
    ema, average = trainer.config.ema, trainer.average
    if isinstance(ema, Power) and isinstance(average, PowerEma):
        snapshots = Snapshots(folder / SNAPSHOTS)
        snapshots.drop_after(done)
        yield Every(ema.snapshot_every, lambda state: snapshots.save(int(state.step), average, state.average))
