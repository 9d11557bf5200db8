"""``artifex evaluate``: hold generated samples against real ones."""

import json
import zipfile
from pathlib import Path
from typing import Final, cast, get_args

from artifex.training.cli import CommandError
from artifex.training.data import Arrays, DataConfig, Dataset, Digits, ImageFolder, Toy, ToyName, open_dataset
from artifex.training.evaluation import Extractor, Metric, classifier, evaluate, inception, raw
from artifex.training.evaluation.evaluate import METRICS
from artifex.training.evaluation.examples import examples, in_memory
from artifex.training.evaluation.inception import WANTED
from artifex.training.files import replacing
from artifex.training.reading import read_config

LEARNT: Final = 20_000
"""Examples that a classifier learns from, at most."""


def run(
    source: str, against: str, extractor: str | None, metrics: str | None, count: int | None, out: Path | None
) -> None:
    """Read both, compute, print, and write ``out``.

    Raises:
        CommandError: for samples, data, an extractor or metrics that can't be used.
    """
    chosen = None if metrics is None else _metrics(metrics)
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise CommandError(f"--out must be a file in a folder that is there, got {out}")
    try:
        generated, real = open_named("SOURCE", source), open_named("--against", against)
        if generated.shape != real.shape and not (extractor or "").endswith(".safetensors"):
            raise CommandError(f"SOURCE and --against must be of one shape, got {generated.shape} and {real.shape}")
        chosen_extractor = _extractor(extractor, real)
        keep = chosen != ["fid"]
        ours, theirs = (
            chosen_extractor((batch.x for batch in examples(data, count=count)), keep=keep)
            for data in (generated, real)
        )
        found = evaluate(ours, theirs, chosen)
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    print(found)
    if out is not None:
        with replacing(out) as file:
            file.write(
                (json.dumps({"generated": source, "real": against, **found.as_json()}, indent=2) + "\n").encode()
            )


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
