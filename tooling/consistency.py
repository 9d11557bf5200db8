"""Invariants of the whole tree that no other tool checks.

uv run python -m tooling.consistency        one complaint a line; exit 1 if there is any
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

from tooling.workspace import ROOT, portions

# Spelled so that this file passes its own check.
_LEAKS = (
    (re.compile(r"py" r"pi\.org|py" r"thonhosted"), "a registry's host"),
    (re.compile(r"(?<![A-Za-z0-9_.])/(root|home|Users|work|farm)/"), "an absolute path of one machine"),
)
_LOCKS = re.compile(r"uv\.lock|pylock(\..*)?\.toml")


def versions(root: Path = ROOT) -> Iterator[str]:
    """Complain of members whose version, or whose requirement of a sibling, is not the workspace's one version."""
    members = portions(root)
    names = {portion.name for portion in members}
    expected = members[0].version
    for portion in members:
        if portion.version != expected:
            yield f"{portion.name}: version {portion.version}, {members[0].name} has {expected}"
        extras: dict[str, list[str]] = portion.metadata.get("optional-dependencies", {})
        for line in (*portion.metadata["dependencies"], *(line for lines in extras.values() for line in lines)):
            requirement = Requirement(line)
            if requirement.name in names and str(requirement.specifier) != f"=={expected}":
                yield f"{portion.name}: requires {line}, expected {requirement.name}=={expected}"


def namespace(root: Path = ROOT) -> Iterator[str]:
    """Complain of portions that break the namespace ``artifex`` (PEP 420), hide modules or hide their types."""
    for portion in portions(root):
        for stray in portion.source.glob("artifex/__init__.py*"):
            yield f"{stray.relative_to(root)}: breaks the sibling packages; the namespace has no __init__.py"
        if not (portion.package / "py.typed").is_file():
            yield f"{portion.package.relative_to(root)}: no py.typed, so users' type checkers ignore its types"
        for folder in sorted({path.parent for path in portion.package.rglob("*.py")}):
            if not (folder / "__init__.py").is_file():
                yield f"{folder.relative_to(root)}: no __init__.py, so import-linter does not see its modules"


def leaks(paths: Iterable[Path], root: Path = ROOT) -> Iterator[str]:
    """Complain of files, relative to ``root``, that are locks or that reveal a host or a path of their origin."""
    for path in paths:
        if _LOCKS.fullmatch(path.name):
            yield f"{path}: a lock file; the pins are in pyproject.toml"
            continue
        try:
            text = (root / path).read_text()
        except UnicodeDecodeError:
            continue
        for pattern, what in _LEAKS:
            for match in pattern.finditer(text):
                yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: mentions {what}"


def committable(root: Path = ROOT) -> tuple[Path, ...]:
    """Return the files that are or would be committed, relative to ``root``."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    out = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    return tuple(path for name in sorted(set(out.split("\0"))) if name and (root / (path := Path(name))).is_file())


def main() -> int:
    """Print every complaint; return the exit status."""
    complaints = [*versions(), *namespace(), *leaks(committable())]
    print("\n".join(complaints) if complaints else "versions, namespace and committed files are consistent")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
