"""The command ``artifex``: what it understands, and how it says that it did not."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from artifex.training.cli.options import evaluate as evaluate_options
from artifex.training.cli.values import (
    MAX_COUNT,
    MAX_LABEL,
    MAX_MINUTES,
    MAX_PROCESSES,
    MAX_SEED,
    MAX_STEPS,
    MAX_TIMEOUT,
    number,
    path,
    said,
    whole_number,
    whole_numbers,
)
from artifex.training.cli.values import CommandError as CommandError
from artifex.training.errors import CheckpointError

app = typer.Typer(
    name="artifex",
    help="Diffusion models in JAX.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def say_version(asked: bool) -> bool:
    """Print the version and end, if asked to."""
    if asked:
        typer.echo(f"artifex {version('artifex-training')}")
        raise typer.Exit
    return asked


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command(
    "demo",
    help="Train on 1,797 real handwritten digits and draw 100 new ones.\n\n"
    "Writes samples.png, samples.npz, denoising.png, loss.png, metrics.json, metrics.jsonl, config.yaml and "
    "checkpoint/ into DIR. It takes a few minutes on two CPU cores and downloads nothing. Ctrl-C keeps what was "
    "learned; --resume goes on from there and ends in the same bits.",
)
def run_demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the results; made if it is not there.")
    ] = Path("artifex-demo"),
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--seed", 0, MAX_SEED),
            help="Of everything random: one seed, one result. Default 0.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--steps", 1, MAX_STEPS),
            help="Training steps; fewer are quicker and worse. Default 2000.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of an interrupted run in DIR.")
    ] = False,
) -> None:
    """Check what is cheap to check, and only then load what is slow to load."""
    from artifex.training.cli.demo import run

    run(out, seed, steps, resume)


@app.command(
    "train",
    help="Train what a configuration says.\n\n"
    "CONFIG is a YAML file; `artifex info config` prints one with every default. Writes config.yaml and checkpoint/ "
    "into DIR. Ctrl-C keeps what was learned; --resume goes on from there and ends in the same bits.",
)
def run_train(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", parser=path("CONFIG", "file"), help="YAML file.", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set one value: optimizer.learning_rate=1e-3; several times."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the results; made if it is not there.")
    ] = Path("artifex-run"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in DIR; CONFIG and --set may change how, not what.")
    ] = False,
    accept_changed_data: Annotated[
        bool, typer.Option("--accept-changed-data", help="Go on though the data is more or less, or has another name.")
    ] = False,
    coordinator: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="ARTIFEX_COORDINATOR",
            help="Of several processes: where the first one listens; auto is as Slurm, Open MPI, a Cloud TPU or "
            "Kubernetes says, without the next two.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            envvar="ARTIFEX_PROCESSES",
            parser=whole_number("--processes", 1, MAX_PROCESSES),
            help="How many there are.",
        ),
    ] = None,
    process: Annotated[
        int | None,
        typer.Option(
            metavar="I",
            envvar="ARTIFEX_PROCESS",
            parser=whole_number("--process", 0, MAX_PROCESSES - 1),
            help="Which one this is, counted from 0.",
        ),
    ] = None,
    timeout: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            parser=whole_number("--timeout", 1, MAX_TIMEOUT),
            help="After so many without a sign of life of one of them the others end. Default 60.",
        ),
    ] = None,
) -> None:
    """Check what is cheap to check, and only then load what is slow to load."""
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given) and not all(given) and (coordinator != "auto" or any(given[1:])):
        raise CommandError(
            "--coordinator HOST:PORT, --processes and --process go together, --coordinator auto by itself; "
            f"got {coordinator or 'none'}, {'none' if processes is None else processes} "
            f"and {'none' if process is None else process}"
        )
    hosts = None if coordinator is None else (coordinator, processes, process, 60 if timeout is None else timeout)
    from artifex.training.cli.train import run

    run(config, overrides or (), out, resume, accept_changed_data, hosts)


@app.command(
    "info",
    help="Print a configuration.\n\n"
    "WHAT is config, for every setting with its default and meaning, or the folder of a run, for its own and its step.",
)
def run_info(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="config, or the folder of a run.", show_default=False)],
) -> None:
    """Load what is slow to load."""
    from artifex.training.cli.info import run

    run(what)


@app.command(
    "sample",
    help="Draw samples of a trained network.\n\n"
    "CHECKPOINT is the folder of a run. Writes samples.png and samples.npz into DIR. What is not given is as in the "
    "run's previews.",
)
def run_sample(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", parser=path("CHECKPOINT"), help="Folder of a run.", show_default=False),
    ],
    sampler: Annotated[
        str | None, typer.Option(metavar="NAME", help="ddim, dpmpp_2m, heun, unipc ...; ddim where nothing is said.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", parser=whole_number("--steps", 1, MAX_STEPS), help="Of the walk.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(metavar="W", parser=number("--guidance", -100, 100), help="1 is none.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="N,N-N", help="Which classes, in turn: 0,3,5-7. Default all.")
    ] = None,
    classes: Annotated[str | None, typer.Option(metavar="NAMES", help="The same by their names: cat,dog.")] = None,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole_number("--count", 1, MAX_COUNT), help="How many. Default 100."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", parser=whole_number("--seed", 0, MAX_SEED), help="Default 0.")
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            metavar="WIDTH",
            parser=number("--ema", 0, 0.288675),
            help="An average of this width, made of those that the run stored: 0.08 is 8% of the training.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole_number("--batch", 1, MAX_COUNT), help="At a time. Default 64."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the results; made if it is not there.")
    ] = Path("artifex-samples"),
) -> None:
    """Check what is cheap to check, and only then load what is slow to load."""
    if None not in (labels, classes):
        raise CommandError("--labels and --classes exclude each other; give one of them")
    from artifex.training.cli.sample import run

    run(
        checkpoint, sampler=sampler, steps=steps, guidance=guidance,
        labels=None if labels is None else whole_numbers("--labels", labels, MAX_LABEL),
        classes=classes, count=100 if count is None else count, seed=0 if seed is None else seed, ema=ema,
        batch=64 if batch is None else batch, out=out,
    )  # fmt: skip


app.command("evaluate", help=evaluate_options.HELP)(evaluate_options.run_evaluate)


@app.command(
    "convert",
    help="Rewrite a network's checkpoint.\n\n"
    "SRC is a diffusers folder of one network, or a safetensors file with the names of facebookresearch/DiT or "
    "openai/guided-diffusion, which needs --config. DST is such a folder or, ending in .safetensors, such a file. Of a "
    "run's folder, SRC too, the averaged network is written, into a file with its configuration.",
)
def run_convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", parser=path("SRC", "path"), help="Folder or file to read.", show_default=False),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DST", parser=path("DST", "path"), help="Folder or file to write; new.", show_default=False
        ),
    ],
    config: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network in a file: dit-xl-2, adm-imagenet256 ...")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="float32, float16 or bfloat16; by default what SRC has.")
    ] = None,
) -> None:
    """Check what is cheap to check, and only then load what is slow to load."""
    from artifex.training.cli.convert import run

    run(source, target, config, dtype)


bench = typer.Typer(name="bench", help="Measure on this machine.", no_args_is_help=True)
app.add_typer(bench)


@bench.command(
    "kernels",
    help="Check every kernel that runs here, then time it against its reference.\n\n"
    "Writes kernels.json and kernels.png into a folder of DIR that is named after the device. On a CPU, XLA alone is "
    "compared; on a GPU every body is, in bfloat16.",
)
def bench_kernels(
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the results; made if it is not there.")
    ] = Path("bench/results"),
    minutes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--minutes", 1, MAX_MINUTES),
            help="After so many, what is left is skipped and named. Default 8.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KERNEL", help="This kernel alone; may be given several times.")
    ] = None,
) -> None:
    """Check what is cheap to check, and only then load what is slow to load."""
    from artifex.training.cli.bench import run_kernels

    run_kernels(out, 8 if minutes is None else minutes, only or ())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        arguments: what follows the command's name; None takes those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code: object = app(args=given or ["--help"], prog_name="artifex", standalone_mode=False)
    except CommandError as error:
        return _fail(str(error), error.code)
    except CheckpointError as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(said(error), 1)
    except typer.BadParameter as error:
        return _fail(error.format_message(), 2)
    except typer.TyperException as error:
        return _fail(f"{error.message.rstrip('.')}{_expected(error)}", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    """Say one line on stderr."""
    print("artifex: " + " ".join(message.split()), file=sys.stderr)
    return code


def _expected(error: typer.TyperException) -> str:
    """What the command that failed does understand, where that is known."""
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is None:
        return ""
    commands: dict[str, object] = getattr(context.command, "commands", {})
    options = (
        " ".join(filter(None, (option.opts[0], option.metavar)))
        for option in context.command.get_params(context)
        if option.name != "help"
    )
    return "; expected " + ", ".join((*commands, *options))
