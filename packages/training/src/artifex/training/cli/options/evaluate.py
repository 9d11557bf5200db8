"""Options of ``artifex evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from artifex.command.values import MAX_COUNT, MAX_SEED, MAX_STEPS, number, path, whole_number
from artifex.training.cli.limits import MAX_WIDTH


def evaluate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A run, or samples.", show_default=False)],
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="DATA",
            help="Real samples: digits, moons ..., an npz or npy file, a folder of images, or the YAML file of a run. "
            "Default is the run's data.",
        ),
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Feature extractor: classifier, trained on DATA's labels; raw, the values themselves; or a "
            "safetensors file of FID's Inception v3.",
        ),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="NAMES", help="fid,kid ... Default is every metric that the samples allow.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--count", 2, MAX_COUNT),
            help="Largest number of samples of either side; default all, and 1000 of a run. Time grows quadratically.",
        ),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(metavar="NAME", help="For a run: ddim, dpmpp_2m, heun, unipc ... Default ddim.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--steps", 1, MAX_STEPS),
            help="For a run: steps of the sampler. Default 50.",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            metavar="W",
            parser=number("--guidance", -100, 100),
            help="For a run: scale of classifier-free guidance. Default 1, no guidance.",
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            metavar="WIDTH",
            parser=number("--ema", 0, MAX_WIDTH),
            help="For a run: width of the average of the parameters, reconstructed from those that it stored.",
        ),
    ] = None,
    likelihood_bits: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--likelihood-bits", 1, MAX_COUNT),
            help="For a run: also the likelihood of N real samples, in bits per dimension.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--seed", 0, MAX_SEED),
            help="For a run: seed of all randomness. Default 0.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=path("--out", "file"), help="Also write the results to a JSON file."),
    ] = None,
) -> None:
    """Compare generated samples with real ones.

    SOURCE is the folder of a run, whose network is sampled, an npz or npy file, or a folder of images. Prints FID,
    KID, the Inception score, precision and recall, density and coverage, the sliced Wasserstein distance and the
    MMD, with the features, the numbers of samples, and the sampling settings: for a run 50 steps of DDIM without
    guidance by default.
    """
    from artifex.training.cli.evaluate import run

    run(
        source, against, extractor=extractor, metrics=metrics, count=count, likelihood_bits=likelihood_bits, seed=seed,
        sampling={"sampler": sampler, "steps": steps, "guidance": guidance}, ema=ema, out=out,
    )  # fmt: skip
