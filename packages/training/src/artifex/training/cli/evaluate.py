"""``artifex evaluate``: hold generated samples, or a run's, against real ones."""

import dataclasses
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, cast, get_args

import numpy as np

from artifex.training.cli import CommandError
from artifex.training.data import Arrays, DataConfig, Dataset, Digits, ImageFolder, Toy, ToyName, open_dataset
from artifex.training.evaluation import Extractor, Metric, Score, classifier, evaluate, inception, raw
from artifex.training.evaluation.examples import examples, in_memory
from artifex.training.evaluation.inception_file import WANTED
from artifex.training.evaluation.metrics import METRICS
from artifex.training.evaluation.run import Run
from artifex.training.files import replacing
from artifex.training.reading import read_config
from artifex.training.trainer import CHECKPOINT

LEARNT: Final = 20_000
"""Examples that a classifier learns from, at most."""
DRAWN: Final = 1000
"""Samples of a run, where nothing is said."""


def run(
    source: str,
    against: str | None,
    *,
    extractor: str | None,
    metrics: str | None,
    count: int | None,
    bits: int | None,
    seed: int,
    out: Path | None,
) -> None:
    """Read both, compute, print, and write ``out``.

    Raises:
        CommandError: for samples, data, an extractor or metrics that can't be used.
    """
    chosen = None if metrics is None else _metrics(metrics)
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise CommandError(f"--out must be a file in a folder that is there, got {out}")
    try:
        trained = Run(Path(source)) if (Path(source) / CHECKPOINT).is_dir() else None
        if trained is None and (against is None or bits is not None):
            need = "--against must be given" if against is None else "--bits is for a run"
            raise CommandError(f"{need}: SOURCE is no folder of a run, {source}")
        real = trained.data if trained is not None and against is None else open_named("--against", cast(str, against))
        generated = trained.data if trained is not None else open_named("SOURCE", source)
        if generated.shape != real.shape and not (extractor or "").endswith(".safetensors"):
            raise CommandError(f"SOURCE and --against must be of one shape, got {generated.shape} and {real.shape}")
        extract, keep = _extractor(extractor, real), chosen != ["fid"]
        samples: Iterable[np.ndarray] = (
            (batch.x for batch in examples(generated, count=count))
            if trained is None
            else trained.samples(DRAWN if count is None else count, seed)
        )
        ours = extract(samples, keep=keep)
        theirs = extract((batch.x for batch in examples(real, count=count)), keep=keep)
        found = evaluate(ours, theirs, chosen)
        density = None if trained is None or bits is None else trained.likelihood(bits, seed)
    except (ValueError, OSError, ImportError) as error:
        raise CommandError(str(error)) from error
    print(found if density is None else f"{found}\n{density}")
    if out is not None:
        _write(out, source, real.name, found.as_json(), density)


def open_named(argument: str, name: str) -> Dataset:
    """The samples that an argument names, with labels where there are some.

    Raises:
        CommandError: if it names none.
    """
    path = Path(name)
    config: DataConfig
    if name == "digits":
        config = Digits()
    elif name in get_args(ToyName):
        config = Toy(name=cast(ToyName, name))
    elif path.is_dir():
        config = ImageFolder(path=path)
    elif path.suffix in (".npz", ".npy") and path.is_file():
        names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
        # what `artifex demo` writes, and what `artifex sample` does
        x_key = "samples" if "samples.npy" in names else "images"
        config = Arrays(path=path, x_key=x_key, labels_key="labels" if "labels.npy" in names else None)
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        config = read_config(path).data
    else:
        toys = ", ".join(get_args(ToyName))
        raise CommandError(
            f"{argument} must be an npz or npy file, a folder of images, the YAML file of a run, digits, {toys}, "
            f"got {name}"
        )
    return open_dataset(config)


def _extractor(name: str | None, real: Dataset) -> Extractor:
    if name is not None and name.endswith(".safetensors"):
        return inception(name)
    name = name or ("raw" if len(real.shape) == 1 else "classifier")
    if name == "raw":
        return raw()
    if name != "classifier":
        raise CommandError(f"--extractor must be classifier, raw, or {WANTED}; got {name}")
    if real.num_classes is None or real.num_classes < 2:
        raise CommandError(
            f"--extractor must be raw or a file, since {real.name} has no labels that a classifier could learn; "
            f"the file is {WANTED}"
        )
    known = in_memory(real, LEARNT)
    return classifier(known.x, known.labels, real.name)


def _metrics(names: str) -> list[Metric]:
    chosen = [name.strip() for name in names.split(",")]
    if not set(chosen) <= set(METRICS):
        raise CommandError(f"--metrics must be of {','.join(METRICS)}, got {names!r}")
    return cast(list[Metric], chosen)


def _write(out: Path, source: str, real: str, results: dict[str, object], density: Score | None) -> None:
    told = {"of": source, "against": real, **results}
    if density is not None:
        told["bits_per_dim"] = dataclasses.asdict(density)
    with replacing(out) as file:
        file.write((json.dumps(told, indent=2) + "\n").encode())
