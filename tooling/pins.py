"""The pins: one full resolution of everything the workspace needs, kept in the root ``pyproject.toml``.

A lock file records the download hosts of whoever resolved, so none is committed. What a lock file is for is kept as
``[tool.uv] constraint-dependencies``: one exact version of each package, with a marker where Python versions differ.

    uv run python -m tooling.pins            resolve afresh, without the pins, and write them
    uv run python -m tooling.pins --check    exit 1 if the pins don't cover the dependencies declared now
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tooling.workspace import ROOT, portions

_LIST = re.compile(r"^constraint-dependencies = \[\n(?P<pins>(?:    .*\n)*)\]\n", re.MULTILINE)


def read_pins(text: str) -> tuple[str, ...]:
    """Return the pins of a root ``pyproject.toml``, given as text."""
    pins: list[str] = tomllib.loads(text)["tool"]["uv"]["constraint-dependencies"]
    return tuple(pins)


def write_pins(text: str, pins: Sequence[str]) -> str:
    """Return ``text`` with its list of pins replaced, one a line, everything else untouched.

    Raises:
        ValueError: If ``text`` has not exactly one list ``constraint-dependencies`` laid out one entry a line.
    """
    lines = "".join(f'    "{pin}",\n' for pin in pins)
    new, count = _LIST.subn(lambda _: f"constraint-dependencies = [\n{lines}]\n", text)
    if count != 1:
        raise ValueError(f"expected one list constraint-dependencies in pyproject.toml, found {count}")
    return new


def resolve(text: str, root: Path = ROOT) -> tuple[str, ...]:
    """Resolve the workspace for every Python and platform it supports, in a copy that holds no lock.

    Args:
        text: The root ``pyproject.toml`` to resolve, its pins included.
        root: The workspace whose members are resolved.

    Returns:
        Requirements such as ``jax==0.10.2 ; python_full_version < '3.12'``, by name, without the workspace's own.

    Raises:
        subprocess.CalledProcessError: If the requirements have no common solution; uv's words are on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        (copy / "pyproject.toml").write_text(text)
        for portion in portions(root):
            project = copy / portion.project.relative_to(root)
            project.mkdir(parents=True)
            shutil.copy(portion.project / "pyproject.toml", project)
        everything = ("--all-packages", "--all-groups", "--all-extras", "--no-emit-workspace")
        plain = ("--no-hashes", "--no-header", "--no-annotate", "--quiet")
        out = subprocess.run(
            ("uv", "export", *everything, *plain), cwd=copy, check=True, stdout=subprocess.PIPE, text=True
        )
    return tuple(line for line in out.stdout.splitlines() if line)


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the pins; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the pins of a fresh resolution into pyproject.toml.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the pins are out of date")
    check: bool = parser.parse_args(argv).check
    path = ROOT / "pyproject.toml"
    text = path.read_text()
    try:
        pins = resolve(text if check else write_pins(text, ()))
    except subprocess.CalledProcessError:
        print("pins: no versions satisfy every package; see above", file=sys.stderr)
        return 1
    old = set(read_pins(text))
    changes = [f"+ {pin}" for pin in pins if pin not in old] + [f"- {pin}" for pin in sorted(old - set(pins))]
    print("\n".join(changes) if changes else f"{len(pins)} pins are current")
    if check:
        if changes:
            print("pins: out of date; refresh with `uv run python -m tooling.pins`", file=sys.stderr)
        return int(bool(changes))
    path.write_text(write_pins(text, pins))
    return 0


if __name__ == "__main__":
    sys.exit(main())
