"""Options of ``artifex bench``."""

from pathlib import Path
from typing import Annotated

import typer

from artifex.command.values import path, whole_number
from artifex.training.cli.limits import MAX_MINUTES

app = typer.Typer(name="bench", help="Benchmark this machine.", no_args_is_help=True)


@app.command("kernels")
def kernels(
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the results; created if missing.")
    ] = Path("bench/results"),
    minutes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--minutes", 1, MAX_MINUTES),
            help="Time limit; what is left then is skipped and listed. Default 8.",
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="KERNEL", help="Only this kernel; repeatable.")] = None,
) -> None:
    """Check every kernel that runs here, then time it against its reference.

    Writes kernels.json and kernels.png into a subfolder of DIR named after the device. On a CPU only XLA is
    compared; on a GPU every implementation is, in bfloat16.
    """
    from artifex.training.cli.bench import run_kernels

    run_kernels(out, 8 if minutes is None else minutes, only or ())
