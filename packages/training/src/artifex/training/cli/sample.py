"""``artifex sample``: draw samples of a trained network, as a picture and as arrays."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_STORED, ZipFile

import jax
import numpy as np

from artifex.command import CommandError, as_command_error, message_of
from artifex.command.folder import check_results, make_writable
from artifex.samplers import SAMPLERS
from artifex.training.config.sampling import PreviewConfig
from artifex.training.config.yaml import ConfigError
from artifex.training.data.classes import labels_of
from artifex.training.errors import CheckpointError
from artifex.training.files import replacing
from artifex.training.run.averages import averaged
from artifex.training.run.folder import RunFolder
from artifex.training.run.labeled_plots import labeled_picture
from artifex.training.run.plots import why_no_picture, write
from artifex.training.run.sampling import Labels, SampleGenerator, Samples
from artifex.training.run.trainer import Trainer

PICTURE: Final = "samples.png"
ARRAYS: Final = "samples.npz"
SHOWN: Final = 100
"""Largest number of images in the picture; of points a hundred times as many."""


@as_command_error(CheckpointError)
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
    """Draw samples and write them into ``out``.

    Raises:
        CommandError: for a run that can't be read, or settings that don't fit it.
    """
    if sampler is not None and sampler not in SAMPLERS:
        raise CommandError(f"--sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    check_results(out, (PICTURE, ARRAYS), ())
    folder = RunFolder.containing(checkpoint)
    if not folder.exists:
        raise CommandError(f"CHECKPOINT must be the folder of a run, got {str(checkpoint)!r}")
    given = {"sampler": sampler, "steps": steps, "guidance": guidance}
    try:
        trainer = Trainer.from_folder(folder.path, any_devices=True)
        settings = (trainer.config.preview or PreviewConfig()).model_copy(
            update={name: value for name, value in given.items() if value is not None}
        )
        objective = trainer.objective
        generator = SampleGenerator.from_learner(settings, trainer.config.schedule, trainer.learner, trainer.shape)
        if guidance is not None and objective.num_classes is None:
            raise CommandError("--guidance is for a network with classes; this one has none")
        if classes is not None:
            labels = _labels_of(classes, trainer.classes, objective.num_classes)
        sample_labels = generator.labels(count, labels)
        trained = trainer.load()
        parameters, description = averaged(folder, trained, ema)
    except (ConfigError, CheckpointError, OSError, ValueError) as error:
        raise CommandError(message_of(error)) from error
    make_writable(out)
    reason = why_no_picture(generator.shape)
    denoiser = trained.learner.denoiser(parameters)
    batches = generator.draw(denoiser, count, sample_labels, jax.random.key(seed), batch, trainer.mesh)
    try:
        shown = _write_arrays(out / ARRAYS, batches, (count, *generator.shape), sample_labels)
        if reason is None:
            picture = labeled_picture(
                shown, None if sample_labels is None else sample_labels[: len(shown)], trainer.classes
            )
            write(picture, out / PICTURE)
    except OSError as error:
        raise CommandError(f"{error.filename or out} could not be written: {error.strerror or error}", 1) from error
    guided = "" if sample_labels is None else f", guidance {settings.guidance:g}"
    print(
        f"{count:,} samples of step {trained.steps_done:,}, {description}\n"
        f"  {settings.sampler}, {settings.steps} steps{guided}, seed {seed}\n\n"
        + (f"{out / PICTURE}  the first {len(shown):,}\n" if reason is None else f"no picture: {reason}\n")
        + f"{out / ARRAYS}  all of them"
    )


def _labels_of(text: str, names: Sequence[str], num_classes: int | None) -> list[int]:
    """Parse names of classes, or their numbers if they have no names."""
    if num_classes is None:
        raise CommandError("--classes is for a network with classes; this one has none")
    try:
        return labels_of(text, [*names, *map(str, range(len(names), num_classes))])
    except ValueError as error:
        raise CommandError(f"--classes {error}") from error


def _write_arrays(path: Path, batches: Iterator[Samples], shape: tuple[int, ...], labels: Labels | None) -> Samples:
    """Write an npz file batch by batch, atomically; return the first samples, for a picture."""
    most, kept = SHOWN if len(shape) > 2 else 100 * SHOWN, list[Samples]()
    header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with replacing(path) as file, ZipFile(file, "w", ZIP_STORED, allowZip64=True) as archive:
        with archive.open("samples.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_1_0(entry, header)
            for batch in batches:
                entry.write(np.ascontiguousarray(batch, "<f4").tobytes())
                if sum(map(len, kept)) < most:
                    kept.append(batch)
        if labels is not None:
            with archive.open("labels.npy", "w") as entry:
                np.lib.format.write_array(entry, labels)
    return np.concatenate(kept)[:most]
