"""The wheels as a user gets them: each installed with only its own dependencies, and all of them below a user's code.

uv run python -m tooling.wheels alone DIST [--python PYTHON]        install each wheel alone, import all its modules
uv run python -m tooling.wheels downstream DIST [--python PYTHON]   type-check and run ``tooling/downstream`` on them

DIST is a folder of wheels that ``uv build --all-packages`` wrote; PYTHON is what ``uv venv --python`` takes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tooling.pins import read_pins
from tooling.workspace import ROOT

# The packages that are arithmetic on arrays, and what must not come with them.
ARITHMETIC = ("artifex-kernels", "artifex-schedules", "artifex-samplers", "artifex-guidance")
FOREIGN = ("flax", "optax", "orbax-checkpoint", "pydantic", "rich", "scikit-learn")

# Runs inside the clean environment: imports a package and every module in it; prints what is installed there, and
# the names of modules that could not be found.
_PROBE = """
import importlib, importlib.metadata, json, pkgutil, sys
absent = []
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        absent.append(error.name)
names = [distribution.metadata["Name"] for distribution in importlib.metadata.distributions()]
print(json.dumps({"installed": names, "absent": absent}))
"""


@dataclass(frozen=True)
class Wheel:
    """One built distribution.

    Attributes:
        path: The wheel file.
        name: The distribution's normalized name.
        module: The import package it ships, such as ``artifex.schedules``.
        requires: The names of what it always requires.
        optional: The names of what its extras require.
    """

    path: Path
    name: str
    module: str
    requires: frozenset[str]
    optional: frozenset[str]


def read_wheel(path: Path) -> Wheel:
    """Read a wheel's metadata and contents.

    Raises:
        ValueError: If it ships other than one typed package right below the namespace ``artifex``.
    """
    with zipfile.ZipFile(path) as archive:
        files = [name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")]
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(info).decode())
    folders = {"/".join(name.split("/")[:2]) for name in files}
    if (
        len(folders) != 1
        or not (folder := folders.pop()).startswith("artifex/")
        or f"{folder}/__init__.py" not in files
    ):
        raise ValueError(f"{path.name}: expected one package below artifex/, got {', '.join(sorted(files)[:5])}")
    if f"{folder}/py.typed" not in files:
        raise ValueError(f"{path.name}: expected {folder}/py.typed, got none")
    always: set[str] = set()
    optional: set[str] = set()
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        extra = requirement.marker is not None and "extra" in str(requirement.marker)
        (optional if extra else always).add(canonicalize_name(requirement.name))
    name = canonicalize_name(metadata["Name"])
    return Wheel(path, name, folder.replace("/", "."), frozenset(always), frozenset(optional))


def read_wheels(folder: Path) -> dict[str, Wheel]:
    """Read every wheel in a folder, by distribution name.

    Raises:
        ValueError: If there is none.
    """
    wheels = {wheel.name: wheel for wheel in map(read_wheel, sorted(folder.glob("*.whl")))}
    if not wheels:
        raise ValueError(f"expected wheels in {folder}, found none")
    return wheels


def closure(name: str, wheels: Mapping[str, Wheel]) -> frozenset[str]:
    """Return ``name`` and those of ``wheels`` that it requires, directly or through others."""
    found, queue = {name}, [name]
    while queue:
        new = {required for required in wheels[queue.pop()].requires if required in wheels} - found
        found |= new
        queue += new
    return frozenset(found)


def complaints(
    wheel: Wheel, wheels: Mapping[str, Wheel], installed: Sequence[str], absent: Sequence[str]
) -> Iterator[str]:
    """Complain of what a wheel installed alone brought or lacked.

    Args:
        wheel: The wheel that was installed.
        wheels: All wheels of the workspace.
        installed: The distributions found in the environment.
        absent: The names of modules that its own modules import and that are not there; those that its extras
            bring are excused.
    """
    names = {canonicalize_name(name) for name in installed}
    ours = {name for name in names if name in wheels or name.startswith("artifex")}
    if ours != (expected := closure(wheel.name, wheels)):
        yield f"{wheel.name}: expected {sorted(expected)} installed, got {sorted(ours)}"
    if wheel.name in ARITHMETIC and (foreign := names & set(FOREIGN)):
        yield f"{wheel.name}: brings {sorted(foreign)}"
    for module in absent:
        if canonicalize_name(module.split(".")[0]) not in wheel.optional:
            yield f"{wheel.name}: imports {module}, which it does not require"


def environment(folder: Path, python: str | None, wheels: Sequence[Wheel], others: Sequence[str] = ()) -> Path:
    """Make a clean environment that holds ``wheels``, the packages ``others`` and what they require, as pinned.

    Returns:
        The environment's Python.
    """
    pins = folder / "pins.txt"
    pins.write_text("\n".join(read_pins((ROOT / "pyproject.toml").read_text())))
    env = folder / "env"
    inside = env / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    choice = () if python is None else ("--python", python)
    what = (*(str(wheel.path) for wheel in wheels), *others)
    for command in (
        ("uv", "venv", "--quiet", "--no-project", *choice, str(env)),
        ("uv", "pip", "install", "--quiet", "--python", str(inside), "--constraint", str(pins), *what),
    ):
        # Outside the workspace, so that none of its settings apply.
        subprocess.run(command, cwd=folder, check=True)
    return inside


def alone(wheels: Mapping[str, Wheel], python: str | None) -> int:
    """Install each wheel alone and import it; print a row for each and return the exit status."""
    passed = True
    for wheel in wheels.values():
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            needed = [wheels[name] for name in sorted(closure(wheel.name, wheels))]
            inside = environment(Path(folder), python, needed)
            command = (str(inside), "-I", "-c", _PROBE, wheel.module)
            probe = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        if probe.returncode:
            print(f"{wheel.name}: does not import alone", file=sys.stderr)
            passed = False
            continue
        found = json.loads(probe.stdout.splitlines()[-1])
        seconds = time.perf_counter() - start
        print(f"{wheel.name}: alone with {len(found['installed']) - 1} packages, {seconds:.1f} s", flush=True)
        for complaint in complaints(wheel, wheels, found["installed"], found["absent"]):
            print(complaint, file=sys.stderr)
            passed = False
    return int(not passed)


def status(commands: Sequence[Sequence[str]], folder: Path) -> int:
    """Run every command in ``folder``; return 1 if one of them fails or is killed by a signal, and 0 otherwise."""
    codes = [subprocess.run(command, cwd=folder).returncode for command in commands]
    return int(any(code != 0 for code in codes))


def downstream(wheels: Mapping[str, Wheel], python: str | None) -> int:
    """Type-check a user's project strictly against the installed wheels, then run it; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        inside = environment(Path(folder), python, tuple(wheels.values()), ("mypy",))
        project = Path(folder) / "project"
        shutil.copytree(ROOT / "tooling" / "downstream", project, ignore=shutil.ignore_patterns("__pycache__"))
        scripts = sorted(path.name for path in project.glob("*.py"))
        commands = (("-m", "mypy", "--strict", *scripts), *((script,) for script in scripts))
        return status([(str(inside), *command) for command in commands], project)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two checks; return the exit status."""
    checks = {"alone": alone, "downstream": downstream}
    parser = argparse.ArgumentParser(description="Check the built wheels as a user gets them.")
    parser.add_argument("check", choices=sorted(checks))
    parser.add_argument("dist", type=Path, help="folder of wheels")
    parser.add_argument("--python", help="interpreter, as uv takes it; the default is uv's own choice")
    options = parser.parse_args(argv)
    return checks[options.check](read_wheels(options.dist.resolve()), options.python)


if __name__ == "__main__":
    sys.exit(main())
