"""``artifex evaluate``: compare generated samples, or a run's, with real ones."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, cast, get_args

import numpy as np

from artifex.command import CommandError, as_command_error, message_of
from artifex.samplers import SAMPLERS
from artifex.training.config.sampling import SamplingConfig
from artifex.training.config.yaml import read_config
from artifex.training.data import Arrays, DataConfig, Dataset, Digits, ImageFolder, Toy, ToyName, open_dataset
from artifex.training.errors import CheckpointError
from artifex.training.evaluation import Extractor, Metric, Score, classifier, evaluate, inception, raw
from artifex.training.evaluation.examples import examples, in_memory
from artifex.training.evaluation.inception_file import WANTED
from artifex.training.evaluation.metrics import METRICS, check_metrics
from artifex.training.evaluation.run import Run
from artifex.training.files import expanded, replacing
from artifex.training.run.folder import RunFolder

CLASSIFIER_EXAMPLES: Final = 20_000
"""Largest number of examples to train a classifier on."""
DRAWN: Final = 1000
"""Default number of samples of a run."""


@as_command_error(CheckpointError)
def run(
    source: str,
    against: str | None,
    *,
    extractor: str | None,
    metrics: str | None,
    count: int | None,
    likelihood_bits: int | None,
    seed: int | None,
    sampling: Mapping[str, str | float | None],
    ema: float | None,
    out: Path | None,
) -> None:
    """Read or draw both sides, compute the metrics, print them, and write ``out``.

    Args:
        source: a run, or samples.
        against: real samples; None is the run's data.
        extractor: of the features; None depends on the data.
        metrics: their names; None is all that the samples allow.
        count: largest number of samples of either side.
        likelihood_bits: number of real samples to compute the likelihood of; None skips it.
        seed: of a run's samples and of its likelihood; None is 0.
        sampling: fields of ``SamplingConfig``, None for defaults; for a run only, like ``ema``.
        ema: width of the average; None is the run's own.
        out: JSON file of the results.

    Raises:
        CommandError: for samples, data, an extractor or metrics that can't be used.
    """
    chosen = None if metrics is None else _metrics(metrics)
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise CommandError(f"--out must be a file in a folder that is there, got {out}")
    if out is not None and not os.access(out.parent, os.W_OK | os.X_OK):
        raise CommandError(f"--out must be a file in a folder that can be written to, got {out}")
    if likelihood_bits is not None and find_spec("diffrax") is None:
        raise CommandError("--likelihood-bits needs diffrax: pip install 'artifex-samplers[ode]'")
    try:
        folder = RunFolder.at(source)
        is_run = folder.exists
        of_runs = {"likelihood-bits": likelihood_bits, **sampling, "ema": ema, "seed": seed}
        _check_settings(source, is_run, against, [name for name, value in of_runs.items() if value is not None])
        if sampling["sampler"] not in (None, *SAMPLERS):
            raise CommandError(f"--sampler must be one of {', '.join(SAMPLERS)}, got {sampling['sampler']!r}")
        chosen_sampling = {name: value for name, value in sampling.items() if value is not None}
        trained = Run(folder.path, SamplingConfig.model_validate(chosen_sampling), ema) if is_run else None
        seed = 0 if seed is None else seed
        if trained is not None and "guidance" in chosen_sampling and trained.trainer.objective.num_classes is None:
            raise CommandError("--guidance is for a network with classes; this one has none")
        real = trained.data if trained is not None and against is None else open_named("--against", cast(str, against))
        generated = None if trained is not None else open_named("SOURCE", source)
        shape = trained.shape if trained is not None else cast(Dataset, generated).shape
        if shape != real.shape and not (extractor or "").endswith(".safetensors"):
            raise CommandError(f"SOURCE and --against must be of one shape, got {shape} and {real.shape}")
        extract, keep = _extractor(extractor, real), chosen != ["fid"]
        if chosen is not None:
            drawn_count = (DRAWN if count is None else count) if generated is None else _taken(generated, count)
            check_metrics(chosen, drawn_count, _taken(real, count), extract(next(examples(real, 1)).x))
        samples: Iterable[np.ndarray] = (
            (batch.x for batch in examples(cast(Dataset, generated), count=count))
            if trained is None
            else trained.samples(DRAWN if count is None else count, seed)
        )
        ours = extract(samples, keep=keep)
        theirs = extract((batch.x for batch in examples(real, count=count)), keep=keep)
        drawn = {"read from": source} if trained is None else trained.sampling_settings(seed)
        found = evaluate(ours, theirs, chosen, sampling=drawn)
        print(found)
        density = None if trained is None or likelihood_bits is None else trained.likelihood(likelihood_bits, seed)
    except (ValueError, OSError, ImportError) as error:
        raise CommandError(message_of(error)) from error
    if density is not None:
        print(density)
    if out is not None:
        _write(out, source, real.name, found.as_json(), density)


def _check_settings(source: str, is_run: bool, against: str | None, given: list[str]) -> None:
    """Raise a CommandError for options of runs, if ``source`` is none."""
    if not is_run and (against is None or given):
        need = "--against must be given" if against is None else f"--{given[0]} is for a run"
        raise CommandError(f"{need}: SOURCE is no folder of a run, {source}")


def open_named(argument: str, name: str) -> Dataset:
    """Open the samples that an argument names, with labels if they have some.

    Raises:
        CommandError: if it names none.
    """
    path = expanded(name)
    config: DataConfig
    if name == "digits":
        config = Digits()
    elif name in get_args(ToyName):
        config = Toy(name=cast(ToyName, name))
    elif path.is_dir():
        config = ImageFolder(path=path)
    elif path.suffix.lower() in (".npz", ".npy") and path.is_file():
        # labels of generated samples are not used, and may be missing
        config = Arrays(path=path, labels_key=None if argument == "SOURCE" else "auto")
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        config = read_config(path).data
    else:
        toys = ", ".join(get_args(ToyName))
        raise CommandError(
            f"{argument} must be an npz or npy file, a folder of images, the YAML file of a run, digits, {toys}, "
            f"got {name}"
        )
    try:
        data = open_dataset(config, empty_classes=True)
    except ValueError as error:
        if "data." not in str(error):
            raise
        kind = config.kind
        raise CommandError(f"{error}; {argument} can be a YAML file with data: {{kind: {kind}, ...}}") from error
    for note in data.notes if isinstance(config, ImageFolder) else ():
        print(f"{argument}: {note}", file=sys.stderr)
    return data


def _extractor(name: str | None, real: Dataset) -> Extractor:
    if name is not None and name.endswith(".safetensors"):
        return inception(expanded(name))
    name = name or ("raw" if len(real.shape) == 1 else "classifier")
    if name == "raw":
        return raw()
    if name != "classifier":
        raise CommandError(f"--extractor must be classifier, raw, or {WANTED}; got {name}")
    if real.num_classes is None or real.num_classes < 2:
        raise CommandError(
            f"--extractor must be raw or a file, since {real.name} has no labels to train a classifier on; "
            f"the file is {WANTED}"
        )
    known = in_memory(real, CLASSIFIER_EXAMPLES)
    return classifier(known.x, known.labels, real.name)


def _taken(data: Dataset, count: int | None) -> int:
    """Return the number of examples that are used."""
    return len(data) if count is None else min(count, len(data))


def _metrics(names: str) -> list[Metric]:
    chosen = [name.strip() for name in names.split(",")]
    if not set(chosen) <= set(METRICS):
        raise CommandError(f"--metrics must be of {','.join(METRICS)}, got {names!r}")
    return cast(list[Metric], chosen)


def _write(out: Path, source: str, real: str, results: dict[str, object], density: Score | None) -> None:
    content = {"of": source, "against": real, **results}
    if density is not None:
        content["bits_per_dim"] = dataclasses.asdict(density)
    with replacing(out) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
