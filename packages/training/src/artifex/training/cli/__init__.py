"""The command ``artifex``."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from artifex.training.cli.options import bench as bench_options
from artifex.training.cli.options import convert as convert_options
from artifex.training.cli.options import demo as demo_options
from artifex.training.cli.options import evaluate as evaluate_options
from artifex.training.cli.options import info as info_options
from artifex.training.cli.options import sample as sample_options
from artifex.training.cli.options import train as train_options
from artifex.training.cli.values import CommandError, message_of
from artifex.training.errors import CheckpointError

app = typer.Typer(
    name="artifex",
    help="Diffusion models in JAX.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", help=demo_options.HELP)(demo_options.demo)
app.command("train", help=train_options.HELP)(train_options.train)
app.command("info", help=info_options.HELP)(info_options.info)
app.command("sample", help=sample_options.HELP)(sample_options.sample)
app.command("evaluate", help=evaluate_options.HELP)(evaluate_options.evaluate)
app.command("convert", help=convert_options.HELP)(convert_options.convert)
app.add_typer(bench_options.app)


def print_version(value: bool) -> bool:
    """Print the version and exit if ``value``."""
    if value:
        typer.echo(f"artifex {version('artifex-training')}")
        raise typer.Exit
    return value


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        arguments: of the command; None takes those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code: object = app(args=given or ["--help"], prog_name="artifex", standalone_mode=False)
    except CommandError as error:
        return _fail(str(error), error.code)
    except CheckpointError as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(message_of(error), 1)
    except typer.BadParameter as error:
        return _fail(error.format_message(), 2)
    except typer.TyperException as error:
        return _fail(f"{error.message.rstrip('.')}{_expected(error)}", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    """Print one line to stderr."""
    print("artifex: " + " ".join(message.split()), file=sys.stderr)
    return code


def _expected(error: typer.TyperException) -> str:
    """List the subcommands and options of the command that failed, if it is known."""
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
