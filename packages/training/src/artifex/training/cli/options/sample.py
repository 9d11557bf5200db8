"""Options of ``artifex sample``."""

from pathlib import Path
from typing import Annotated

import typer

from artifex.command import CommandError
from artifex.command.values import MAX_COUNT, MAX_SEED, MAX_STEPS, number, path, whole_number, whole_numbers
from artifex.training.cli.limits import MAX_LABEL, MAX_WIDTH


def sample(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", parser=path("CHECKPOINT"), help="Folder of a run.", show_default=False),
    ],
    sampler: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="ddim, dpmpp_2m, heun, unipc ...; ddim for a run without previews."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole_number("--steps", 1, MAX_STEPS), help="Steps of the sampler."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            metavar="W",
            parser=number("--guidance", -100, 100),
            help="Scale of classifier-free guidance; 1 is no guidance.",
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="N,N-N", help="Labels of the classes to draw in turn: 0,3,5-7. Default all.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Names of the classes to draw in turn: cat,dog.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole_number("--count", 1, MAX_COUNT), help="Number of samples. Default 100."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=whole_number("--seed", 0, MAX_SEED), help="Seed of all randomness. Default 0."
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            metavar="WIDTH",
            parser=number("--ema", 0, MAX_WIDTH),
            help="Relative width of the EMA, reconstructed after training from stored averages: 0.08 is 8% of the "
            "training.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole_number("--batch", 1, MAX_COUNT), help="Batch size. Default 64."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the results; created if missing.")
    ] = Path("artifex-samples"),
) -> None:
    """Draw samples from a trained network.

    CHECKPOINT is the folder of a run. Writes samples.png and samples.npz into DIR. Defaults are those of the run's
    previews.
    """
    if None not in (labels, classes):
        raise CommandError("--labels and --classes exclude each other; give one of them")
    from artifex.training.cli.sample import run

    run(
        checkpoint, sampler=sampler, steps=steps, guidance=guidance,
        labels=None if labels is None else whole_numbers("--labels", labels, MAX_LABEL),
        classes=classes, count=100 if count is None else count, seed=0 if seed is None else seed, ema=ema,
        batch=64 if batch is None else batch, out=out,
    )  # fmt: skip
