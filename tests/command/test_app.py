"""Subcommands of other packages: their order, their help, and one line where they fail."""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from artifex.command import CommandError, as_command_error, message_of
from artifex.command import app as application
from artifex.command.app import main

MODULE = '''
from typing import Annotated
import typer
from artifex.command import CommandError, as_command_error

def generate(prompt: str, count: Annotated[int, typer.Option(metavar="N")] = 1) -> None:
    """Draw pictures.

    One sentence that is
    broken in two.
    """
    print(prompt, count)

def fail() -> None:
    """Fail."""
    raise CommandError("--x must be\\n1, got 2", 3)

@as_command_error(KeyError, OSError)
def read() -> None:
    """Read a file."""
    open("absent")

def interrupt() -> None:
    """Stop."""
    raise KeyboardInterrupt

def untyped(value: "Absent") -> None:
    """Never."""

group = typer.Typer(help="Two more.", no_args_is_help=True)

@group.command("one")
def one() -> int:
    """The first
    of two."""
    return 5

@group.command("two")
def two() -> None:
    """The second."""

number = 3
'''
NAMES = ("fail", "read", "interrupt", "group", "generate")
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs subcommands of a module: names, or pairs of a name and an entry point's value."""
    (tmp_path / "planted_commands.py").write_text(MODULE)
    (tmp_path / "planted_broken.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)

    def put(*commands: str | tuple[str, str]) -> None:
        pairs = [(name, f"planted_commands:{name}") if isinstance(name, str) else name for name in commands]
        points = [EntryPoint(name, value, application.GROUP) for name, value in pairs]

        def read(group: str) -> Sequence[EntryPoint]:
            assert group == "artifex.commands"
            return points

        monkeypatch.setattr(application, "entry_points", read)
        for module in ("planted_commands", "planted_broken"):
            monkeypatch.delitem(sys.modules, module, raising=False)

    return put


def test_a_function_is_a_command(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(*NAMES)
    assert main(["generate", "a cat", "--count", "2"]) == 0
    assert capsys.readouterr().out == "a cat 2\n"
    assert main(["generate", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Usage: artifex generate" in out
    assert "One sentence that is broken in two." in out


def test_an_application_is_a_group(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(*NAMES)
    assert main(["group", "one"]) == 5
    assert main(["group", "one", "--help"]) == 0
    assert "The first of two." in capsys.readouterr().out
    assert main(["group"]) == 2
    out, err = capsys.readouterr()
    assert "The second." in out
    assert err == "artifex: Missing command; expected one, two\n"
    assert main(["group", "three"]) == 2
    assert capsys.readouterr().err == "artifex: No such command 'three'; expected one, two\n"


def test_an_interrupt_has_its_code(install: Install) -> None:
    install(*NAMES)
    assert main(["interrupt"]) == 130


def test_the_help_lists_commands_in_order(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("read", "group", ("bench", "planted_commands:fail"), ("train", "planted_commands:fail"), "generate")
    assert main([]) == 0
    out = capsys.readouterr().out
    places = [out.index(f"│ {name} ") for name in ("generate", "train", "bench", "group", "read")]
    assert places == sorted(places)
    for text in ("Draw pictures.", "Two more.", "Read a file."):
        assert text in out


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["fail"], 3, "--x must be 1, got 2"),
        (["read"], 1, "absent: no such file or directory"),
        (["generate"], 2, "Missing argument 'prompt'."),
        (["generat"], 2, "No such command 'generat'. Did you mean 'generate'?; expected generate, fail, group, "
                         "interrupt, read, --version"),
        (["--nope"], 2, "No such option: --nope; expected generate, fail, group, interrupt, read, --version"),
    ],
)  # fmt: skip
def test_failures_are_one_line(
    install: Install, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, line: str
) -> None:
    install(*NAMES)
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"artifex: {line}\n")


BROKEN = {
    "no module": ("planted_absent:run", "ModuleNotFoundError: No module named 'planted_absent'"),
    "no object": ("planted_commands:absent", "AttributeError: module 'planted_commands' has no attribute 'absent'"),
    "raises": ("planted_broken:run", "RuntimeError: two lines"),
    "no command": ("planted_commands:number", "TypeError: 3 is not a callable object"),
    "bad types": ("planted_commands:untyped", "NameError: name 'Absent' is not defined"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_entry_point_is_one_line(install: Install, capsys: pytest.CaptureFixture[str], name: str) -> None:
    value, reason = BROKEN[name]
    install("generate", ("odd", value))
    assert main(["odd", "--x"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"artifex: command odd of {value} can't be loaded: {reason}\n")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_entry_point_leaves_the_others(
    install: Install, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    value, _ = BROKEN[name]
    install("generate", ("odd", value))
    assert main(["generate", "a cat"]) == 0
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Draw pictures." in out
    assert "can't be loaded" in out


def test_two_packages_with_the_same_command(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("generate", ("generate", "planted_commands:fail"))
    assert main(["generate", "a cat"]) == 1
    one, two = "planted_commands:generate", "planted_commands:fail"
    assert capsys.readouterr().err == f"artifex: command generate is in several packages: {one}, {two}\n"


def test_only_the_command_that_runs_is_imported(install: Install) -> None:
    install("generate", ("odd", "planted_broken:run"))
    assert main(["generate", "a cat"]) == 0
    assert "planted_broken" not in sys.modules


def test_without_commands(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install()
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("artifex 0.")
    assert main([]) == 0
    assert main(["train"]) == 2
    assert capsys.readouterr().err == "artifex: No such command 'train'; expected --version\n"


def test_errors_become_command_errors() -> None:
    with pytest.raises(CommandError, match=r"^a: gone$") as caught, as_command_error(OSError, code=4):
        raise FileNotFoundError(2, "Gone", "a")
    assert caught.value.code == 4
    with pytest.raises(KeyError), as_command_error(OSError):
        raise KeyError("x")
    assert message_of(OSError(5, "Input/output error")) == "input/output error"
    assert message_of(ValueError("x")) == "x"
