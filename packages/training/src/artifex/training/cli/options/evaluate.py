"""Options of ``artifex evaluate``."""

from pathlib import Path
from typing import Annotated, Final

import typer

from artifex.training.cli.values import MAX_COUNT, MAX_SEED, MAX_STEPS, number, path, whole_number

HELP: Final = (
    "Hold generated samples against real ones.\n\n"
    "SOURCE is the folder of a run, whose network draws them, or an npz or npy file, or a "
    "folder of images. Prints FID, KID, the Inception score, precision and recall, density and coverage, the sliced "
    "Wasserstein distance and the MMD, with what made the features, how many samples they are of, and how those were "
    "drawn: of a run without guidance, by 50 steps of DDIM, unless other options are given."
)


def run_evaluate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A run, or samples.", show_default=False)],
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="DATA",
            help="Real samples: digits, moons ..., an npz or npy file, a folder of images, or the YAML file of a run; "
            "by default a run's own.",
        ),
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What features are of: classifier, trained on DATA's labels; raw, the values themselves; or a "
            "safetensors file of FID's Inception v3.",
        ),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="NAMES", help="fid,kid ...; by default all that the samples allow.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--count", 2, MAX_COUNT),
            help="Take at most so many of either, by default all, and 1000 of a run; time grows with the square of it.",
        ),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a run: ddim, dpmpp_2m, heun, unipc ... Default ddim.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=whole_number("--steps", 1, MAX_STEPS), help="Of a run: of the walk. Default 50."
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            metavar="W",
            parser=number("--guidance", -100, 100),
            help="Of a run: scale of classifier-free guidance. Default 1, which is none.",
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            metavar="WIDTH",
            parser=number("--ema", 0, 0.288675),
            help="Of a run: an average of this width, made of those that it stored.",
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--bits", 1, MAX_COUNT),
            help="Bits per dimension of N real samples too, by the likelihood of a run's network.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", parser=whole_number("--seed", 0, MAX_SEED), help="Default 0.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=path("--out", "file"), help="Write the results as JSON too."),
    ] = None,
) -> None:
    """Load what is slow to load."""
    from artifex.training.cli.evaluate import run

    run(
        source, against, extractor=extractor, metrics=metrics, count=count, bits=bits, seed=seed,
        sampling={"sampler": sampler, "steps": steps, "guidance": guidance}, ema=ema,
        out=out,
    )  # fmt: skip
