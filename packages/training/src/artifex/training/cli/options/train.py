"""Options of ``artifex train``."""

from pathlib import Path
from typing import Annotated

import typer

from artifex.command import CommandError
from artifex.command.values import path, whole_number
from artifex.training.cli.limits import MAX_PROCESSES, MAX_TIMEOUT


def train(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", parser=path("CONFIG", "file"), help="YAML file.", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting: optimizer.learning_rate=1e-3; repeatable."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=path("--out"), help="Folder for the results; created if missing.")
    ] = Path("artifex-run"),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue the run in DIR; CONFIG and --set may change how it trains, not what it learns."
        ),
    ] = False,
    accept_changed_data: Annotated[
        bool,
        typer.Option("--accept-changed-data", help="Continue although the data has another size or another name."),
    ] = False,
    coordinator: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="ARTIFEX_COORDINATOR",
            help="Address of the first of several processes; auto takes it, and the next two, from Slurm, Open MPI, "
            "a Cloud TPU or Kubernetes.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            envvar="ARTIFEX_PROCESSES",
            parser=whole_number("--processes", 1, MAX_PROCESSES),
            help="Number of processes.",
        ),
    ] = None,
    process: Annotated[
        int | None,
        typer.Option(
            metavar="I",
            envvar="ARTIFEX_PROCESS",
            parser=whole_number("--process", 0, MAX_PROCESSES - 1),
            help="Index of this process, from 0.",
        ),
    ] = None,
    timeout: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            parser=whole_number("--timeout", 1, MAX_TIMEOUT),
            help="Seconds without a heartbeat before the run is aborted. Default 60.",
        ),
    ] = None,
) -> None:
    """Train from a configuration.

    CONFIG is a YAML file; `artifex info config` prints one with every default. Writes config.yaml and checkpoint/
    into DIR. Ctrl-C saves a checkpoint; --resume continues from it and ends in the same bits.
    """
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
