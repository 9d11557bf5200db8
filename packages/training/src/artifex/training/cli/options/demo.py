"""Options of ``artifex demo``."""

from pathlib import Path
from typing import Annotated

import typer

from artifex.command.values import MAX_SEED, MAX_STEPS, path, whole_number


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the results; created if missing.")
    ] = Path("artifex-demo"),
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--seed", 0, MAX_SEED),
            help="Seed of all randomness: the same seed gives the same result. Default 0.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--steps", 1, MAX_STEPS),
            help="Training steps; fewer are faster and give worse samples. Default 2000.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint of an interrupted run in DIR.")
    ] = False,
) -> None:
    """Train on 1,797 real handwritten digits and draw 100 new ones.

    Writes samples.png, samples.npz, denoising.png, loss.png, metrics.json, metrics.jsonl, config.yaml and
    checkpoint/ into DIR. It takes a few minutes on two CPU cores and downloads nothing. Ctrl-C saves a checkpoint;
    --resume continues from it and ends in the same bits.
    """
    from artifex.training.cli.demo import run

    run(out, seed, steps, resume)
