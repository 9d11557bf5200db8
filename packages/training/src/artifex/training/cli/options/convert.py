"""Options of ``artifex convert``."""

from pathlib import Path
from typing import Annotated

import typer

from artifex.command.values import path


def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", parser=path("SRC", "path"), help="Folder or file to read.", show_default=False),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DST", parser=path("DST", "path"), help="New folder or file to write.", show_default=False
        ),
    ],
    config: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network in a file: dit-xl-2, adm-imagenet256 ...")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="float32, float16 or bfloat16. Default is that of SRC.")
    ] = None,
) -> None:
    """Convert a network's checkpoint.

    SRC is a diffusers folder of one network, or a safetensors file with the names of facebookresearch/DiT or
    openai/guided-diffusion, which needs --config. DST is a folder in diffusers format or, ending in .safetensors, a
    file with the original names. SRC may also be the folder of a run: its averaged network is written, to a file
    together with its configuration.
    """
    from artifex.training.cli.convert import run

    run(source, target, config, dtype)
