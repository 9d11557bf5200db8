"""Layout of this workspace, for every tool."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Portion:
    """One distribution and the one import package of the namespace ``artifex`` that it ships.

    Attributes:
        project: The folder of its ``pyproject.toml``.
        metadata: The table ``[project]`` of that file.
        module: The import package, such as ``artifex.schedules``.
    """

    project: Path
    metadata: dict[str, Any]
    module: str

    @property
    def name(self) -> str:
        """The distribution's name, such as ``artifex-schedules``."""
        return str(self.metadata["name"])

    @property
    def version(self) -> str:
        """The distribution's version."""
        return str(self.metadata["version"])

    @property
    def source(self) -> Path:
        """The folder that holds ``artifex/``."""
        return self.project / "src"

    @property
    def package(self) -> Path:
        """The folder of the import package."""
        return self.source.joinpath(*self.module.split("."))


def portions(root: Path = ROOT) -> tuple[Portion, ...]:
    """Return the workspace's members, as ``[tool.uv.workspace]`` lists them, in order of their folders."""
    members = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    found = []
    for project in sorted(folder for pattern in members for folder in root.glob(pattern)):
        table = tomllib.loads((project / "pyproject.toml").read_text())
        found.append(Portion(project, table["project"], table["tool"]["uv"]["build-backend"]["module-name"]))
    return tuple(found)
