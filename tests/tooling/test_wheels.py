"""The metadata that ``tooling.wheels`` reads from a wheel, and its complaints."""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tooling import wheels


def wheel(folder: Path, name: str, requires: Sequence[str] = (), files: Sequence[str] | None = None) -> Path:
    """Writes a wheel ``artifex-<name>`` of empty files."""
    path = folder / f"artifex_{name}-1.0-py3-none-any.whl"
    files = (f"artifex/{name}/__init__.py", f"artifex/{name}/py.typed") if files is None else files
    lines = ["Metadata-Version: 2.4", f"Name: artifex-{name}", "Version: 1.0"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(file, "")
        archive.writestr(f"artifex_{name}-1.0.dist-info/METADATA", "\n".join(lines) + "\n")
    return path


@pytest.fixture
def built(tmp_path: Path) -> dict[str, wheels.Wheel]:
    """kernels <- schedules <- samplers, whose extra needs Diff.Rax, and guidance beside samplers."""
    wheel(tmp_path, "kernels", ["jax>=0.10"])
    wheel(tmp_path, "schedules", ["artifex-kernels==1.0"])
    wheel(tmp_path, "samplers", ["artifex-schedules==1.0", "Diff.Rax>=0.7; extra == 'ode'"])
    wheel(tmp_path, "guidance", ["artifex-schedules==1.0"])
    return wheels.read_wheels(tmp_path)


def test_read(built: dict[str, wheels.Wheel]) -> None:
    samplers = built["artifex-samplers"]
    assert samplers.module == "artifex.samplers"
    assert samplers.requires == {"artifex-schedules"}
    assert samplers.optional == {"diff-rax"}


@pytest.mark.parametrize(
    "files",
    [
        ["artifex/x/__init__.py"],
        ["artifex/x/__init__.py", "artifex/x/py.typed", "artifex/__init__.py"],
        ["artifex/x/__init__.py", "artifex/x/py.typed", "tests/test_x.py"],
        ["artifex/x/py.typed", "artifex/x/module.py"],
        ["x/__init__.py", "x/py.typed"],
        [],
    ],
    ids=["no py.typed", "namespace __init__", "tests", "no __init__", "not in the namespace", "empty"],
)
def test_contents(tmp_path: Path, files: Sequence[str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        wheels.read_wheel(wheel(tmp_path, "x", files=files))


def test_no_wheels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected wheels in"):
        wheels.read_wheels(tmp_path)


def test_closure(built: dict[str, wheels.Wheel]) -> None:
    assert wheels.closure("artifex-kernels", built) == {"artifex-kernels"}
    assert wheels.closure("artifex-samplers", built) == {"artifex-samplers", "artifex-schedules", "artifex-kernels"}


ALONE = ["artifex-kernels", "artifex_schedules", "artifex-samplers", "jax", "numpy"]


@pytest.mark.parametrize(
    ("installed", "absent", "expected"),
    [
        (ALONE, [], []),
        (ALONE, ["diff_rax"], []),
        (ALONE, ["diff_rax.sub"], []),
        ([*ALONE, "artifex-guidance"], [], ["artifex-samplers: expected "]),
        ([*ALONE, "artifex-unknown"], [], ["artifex-samplers: expected "]),
        (ALONE[1:], [], ["artifex-samplers: expected "]),
        ([*ALONE, "flax"], [], ["artifex-samplers: brings ['flax']"]),
        ([*ALONE, "Pydantic"], [], ["artifex-samplers: brings ['pydantic']"]),
        (ALONE, ["flax"], ["artifex-samplers: imports flax, which it does not require"]),
    ],
)
def test_complaints(
    built: dict[str, wheels.Wheel], installed: Sequence[str], absent: Sequence[str], expected: Sequence[str]
) -> None:
    found = list(wheels.complaints(built["artifex-samplers"], built, installed, absent))
    assert len(found) == len(expected)
    assert all(complaint.startswith(start) for complaint, start in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["pass", "pass"], 0),
        (["raise SystemExit(3)", "pass"], 1),
        (["pass", "raise SystemExit(3)"], 1),
        (["pass", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], 1),
    ],
    ids=["none fails", "the first fails", "the last fails", "the last is killed"],
)
def test_a_command_that_fails_or_is_killed(tmp_path: Path, codes: Sequence[str], expected: int) -> None:
    assert wheels.status([(sys.executable, "-c", code) for code in codes], tmp_path) == expected
