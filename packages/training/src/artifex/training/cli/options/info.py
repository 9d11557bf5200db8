"""Options of ``artifex info``."""

from typing import Annotated, Final

import typer

HELP: Final = (
    "Print a configuration.\n\n"
    "WHAT is config, for every setting with its default and meaning, or the folder of a run, for its configuration and "
    "step."
)


def info(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="config, or the folder of a run.", show_default=False)],
) -> None:
    """Parse the options; import JAX only then."""
    from artifex.training.cli.info import run

    run(what)
