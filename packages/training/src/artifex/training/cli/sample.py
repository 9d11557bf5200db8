"""``artifex sample``: samples of a trained network, as a picture and as numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_STORED, ZipFile

import jax
import numpy as np

from artifex.schedules import NetworkDenoiser
from artifex.training.checkpoints.checkpointer import CheckpointError
from artifex.training.cli import CommandError
from artifex.training.cli.folder import check_results, make_writable
from artifex.training.cli.values import said
from artifex.training.config.yaml import ConfigError
from artifex.training.data.classes import labels_of
from artifex.training.files import replacing
from artifex.training.run.averages import averaged
from artifex.training.run.labelled_plots import labelled_picture
from artifex.training.run.plots import why_no_picture, write
from artifex.training.run.sampling import SAMPLERS, Labels, PreviewConfig, SampleGenerator, Samples
from artifex.training.run.trainer import CHECKPOINT, Trainer

PICTURE: Final = "samples.png"
NUMBERS: Final = "samples.npz"
SHOWN: Final = 100
"""Images in the picture at most; points are shown up to a hundred times as many."""


def run(
    checkpoint: Path,
    *,
    sampler: str | None,
    steps: int | None,
    guidance: float | None,
    labels: Sequence[int] | None,
    classes: str | None,
    count: int,
    seed: int,
    ema: float | None,
    batch: int,
    out: Path,
) -> None:
    """Draw, and write into ``out``.

    Raises:
        CommandError: for a run that can't be read, or settings that don't fit it.
    """
    if sampler is not None and sampler not in SAMPLERS:
        raise CommandError(f"--sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    check_results(out, (PICTURE, NUMBERS), ())
    folder = checkpoint.parent if checkpoint.name == CHECKPOINT and checkpoint.is_dir() else checkpoint
    if not (folder / CHECKPOINT).is_dir():
        raise CommandError(f"CHECKPOINT must be the folder of a run, got {str(checkpoint)!r}")
    given = {"sampler": sampler, "steps": steps, "guidance": guidance}
    try:
        trainer = Trainer.of(folder, anywhere=True)
        settings = (trainer.config.preview or PreviewConfig()).model_copy(
            update={name: value for name, value in given.items() if value is not None}
        )
        objective = trainer.objective
        drawing = SampleGenerator.of(
            settings, trainer.config.schedule, objective.schedule, trainer.shape, objective.num_classes
        )
        if guidance is not None and objective.num_classes is None:
            raise CommandError("--guidance is for a network that knows classes; this one knows none")
        if classes is not None:
            labels = _labels_of(classes, trainer.classes, objective.num_classes)
        told = drawing.labels(count, labels)
        trained = trainer.load()
        parameters, which = averaged(folder, trained, ema)
    except (ConfigError, CheckpointError, OSError, ValueError) as error:
        raise CommandError(said(error)) from error
    make_writable(out)
    why = why_no_picture(drawing.shape)
    denoiser = NetworkDenoiser(trained.network.apply, objective.prediction, parameters)
    parts = drawing.draw(denoiser, count, told, jax.random.key(seed), batch, trainer.mesh)
    try:
        shown = _write_numbers(out / NUMBERS, parts, (count, *drawing.shape), told)
        if why is None:
            picture = labelled_picture(shown, None if told is None else told[: len(shown)], trainer.classes)
            write(picture, out / PICTURE)
    except OSError as error:
        raise CommandError(f"{error.filename or out} could not be written: {error.strerror or error}", 1) from error
    guided = "" if told is None else f", guidance {settings.guidance:g}"
    print(
        f"{count:,} samples of step {trained.steps_done:,}, {which}\n"
        f"  {settings.sampler}, {settings.steps} steps{guided}, seed {seed}\n\n"
        + (f"{out / PICTURE}  the first {len(shown):,}\n" if why is None else f"no picture: {why}\n")
        + f"{out / NUMBERS}  all of them"
    )


def _labels_of(text: str, names: Sequence[str], num_classes: int | None) -> list[int]:
    """The labels of classes by their names, or by their numbers where they have none."""
    if num_classes is None:
        raise CommandError("--classes is for a network that knows classes; this one knows none")
    try:
        return labels_of(text, [*names, *map(str, range(len(names), num_classes))])
    except ValueError as error:
        raise CommandError(f"--classes {error}") from error


def _write_numbers(path: Path, parts: Iterator[Samples], shape: tuple[int, ...], labels: Labels | None) -> Samples:
    """Write an npz part by part, whole or not at all; give back the first samples, for a picture."""
    most, kept = SHOWN if len(shape) > 2 else 100 * SHOWN, list[Samples]()
    header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(path) as file, ZipFile(file, "w", ZIP_STORED, allowZip64=True) as archive:
        with archive.open("samples.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_1_0(entry, header)
            for part in parts:
                entry.write(np.ascontiguousarray(part, "<f4").tobytes())
                if sum(map(len, kept)) < most:
                    kept.append(part)
        if labels is not None:
            with archive.open("labels.npy", "w") as entry:
                np.lib.format.write_array(entry, labels)
    return np.concatenate(kept)[:most]
