"""The application: its subcommands, and how it ends."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Final

import typer
from typer.main import get_command

from artifex.command.errors import CommandError, message_of

GROUP: Final = "artifex.commands"
ORDER: Final = ("generate", "demo", "train", "info", "sample", "evaluate", "convert", "bench")
"""The order of the help; other commands follow by name."""
Table = Mapping[str, Sequence[EntryPoint]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        arguments: of the command; None takes those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code: object = build(given, read_table())(args=given or ["--help"], prog_name="artifex", standalone_mode=False)
    except CommandError as error:
        return _fail(str(error), error.code)
    except OSError as error:
        return _fail(message_of(error), 1)
    except typer.BadParameter as error:
        return _fail(error.format_message(), 2)
    except typer.TyperException as error:
        return _fail(f"{error.message.rstrip('.') or 'Missing command'}{_expected(error)}", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    return code if isinstance(code, int) else 0


def read_table() -> Table:
    """Read the entry points of the installed packages: those of each name, in the order of the help."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    last = len(ORDER)
    return dict(sorted(found.items(), key=lambda item: (ORDER.index(item[0]) if item[0] in ORDER else last, item[0])))


def build(arguments: Sequence[str], table: Table) -> typer.Typer:
    """Make the application, with the subcommand that ``arguments`` begin with, or else with all.

    Raises:
        CommandError: if that subcommand can't be loaded. Among all, such a one has the reason as help.
    """
    app = typer.Typer(
        name="artifex",
        help="Diffusion models in JAX.",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    if arguments and arguments[0] in table:
        app.add_typer(load(arguments[0], table[arguments[0]]))
        return app
    for name, points in table.items():
        try:
            app.add_typer(load(name, points))
        except CommandError as error:
            app.command(name, help=str(error))(_nothing)
    return app


def load(name: str, points: Sequence[EntryPoint]) -> typer.Typer:
    """Import a subcommand.

    Args:
        name: the subcommand's.
        points: the entry points of this name.

    Returns:
        An application without a name of its own that has this subcommand.

    Raises:
        CommandError: if two packages define it, the import fails, or the object is no command.
    """
    package, *others = (point.dist.name if point.dist is not None else point.value for point in points)
    if others:
        raise CommandError(f"command {name} is in several packages: {', '.join((package, *others))}", 1)
    app = typer.Typer()
    try:
        command = points[0].load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
        for info in (*app.registered_commands, *(command.registered_commands if app.registered_groups else ())):
            info.help = info.help or _unwrapped(info.callback)
        get_command(app)  # reads the annotations
    except Exception as error:  # whatever another package raises
        reason = f"{type(error).__name__}: {error}"
        raise CommandError(f"command {name} of {package} can't be loaded: {reason}", 1) from error
    return app


def _unwrapped(function: object) -> str:
    """Return the paragraphs of a docstring, each on one line, as the terminal wraps them."""
    return "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n"))


def print_version(value: bool) -> bool:
    """Print the version and exit if ``value``."""
    if value:
        typer.echo(f"artifex {version('artifex-command')}")
        raise typer.Exit
    return value


def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


def _nothing() -> None:
    """The place of a command that can't be loaded."""


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
