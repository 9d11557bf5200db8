"""Options of ``artifex info``."""

from typing import Annotated

import typer


def info(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="config, or the folder of a run.", show_default=False)],
) -> None:
    """Print a configuration.

    WHAT is config, for every setting with its default and meaning, or the folder of a run, for its configuration
    and step.
    """
    from artifex.training.cli.info import run

    run(what)
