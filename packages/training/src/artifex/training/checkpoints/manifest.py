"""The manifest of a checkpoint: the size and checksum of each of its files, and the versions that wrote them.

Orbax renames a checkpoint into place when all of it is written, so a process that dies while saving leaves nothing
partial. Disks do: a file is truncated, lost, or has flipped bits. The manifest is written last, before the rename, and
detects such a checkpoint before anything is read from it.
"""

import platform
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Final

import orbax.checkpoint as ocp
from pydantic import BaseModel, ConfigDict, ValidationError

FORMAT: Final = 2
"""Version of a checkpoint's items and their layout."""
ITEM: Final = "manifest"
FILE: Final = "files.json"
PACKAGES: Final = ("artifex-training", "flax", "jax", "numpy", "optax", "orbax-checkpoint")


def versions() -> dict[str, str]:
    """Return the versions of Python and its packages by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


class Manifest(BaseModel):
    """The content of a manifest.

    Attributes:
        format: of the checkpoint.
        versions: of Python and its packages that wrote it.
        files: size and CRC-32 of each, by its path.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    versions: dict[str, str]
    files: dict[str, tuple[int, int]]


class ManifestHandler(ocp.CheckpointHandler):  # type: ignore[misc]
    """Write the manifest when Orbax has written the other items; it must be the last item."""

    def save(self, directory: PathLike[str], args: "ManifestArgs") -> None:
        """Do nothing yet."""

    def restore(self, directory: PathLike[str], args: "ManifestArgs") -> None:
        """Do nothing; see ``find_corruption``."""

    def finalize(self, directory: PathLike[str]) -> None:
        """List all items' files and write the manifest."""
        files = {name: _digest(path) for name, path in _files(Path(directory).parent)}
        manifest = Manifest(format=FORMAT, versions=versions(), files=files)
        (Path(directory) / FILE).write_text(manifest.model_dump_json(indent=1))


@ocp.args.register_with_handler(ManifestHandler, for_save=True, for_restore=True)
@dataclass
class ManifestArgs(ocp.args.CheckpointArgs):  # type: ignore[misc]
    """Request a manifest."""


def read(folder: Path) -> Manifest:
    """Read the manifest of the checkpoint in ``folder``.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unreadable.
    """
    return Manifest.model_validate_json((folder / ITEM / FILE).read_bytes())


def find_corruption(folder: Path) -> str | None:
    """Verify every file of the checkpoint in ``folder``; return the first problem, None if there is none."""
    try:
        manifest = read(folder)
    except FileNotFoundError:
        return "it has no manifest, so it is incomplete or was written by an earlier version of Artifex"
    except (OSError, ValidationError) as error:
        return f"its manifest is unreadable ({_first(error)})"
    if manifest.format != FORMAT:
        return f"its format is {manifest.format}, and this version of Artifex reads {FORMAT}"
    found = dict(_files(folder))
    for name, (size, checksum) in sorted(manifest.files.items()):
        if name not in found:
            return f"{name} is missing"
        try:
            got = _digest(found[name])
        except OSError as error:
            return f"{name} is unreadable ({_first(error)})"
        if got[0] != size:
            return f"{name} has {got[0]:,} bytes instead of {size:,}"
        if got[1] != checksum:
            return f"{name} does not match its checksum"
    return None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """List the files of all items but the manifest; the files beside the items are Orbax's, and are written later."""
    for path in sorted(folder.glob("*/**/*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] != ITEM:
            yield name.as_posix(), path


def _digest(path: Path) -> tuple[int, int]:
    """Compute size and CRC-32."""
    size, checksum = 0, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return size, checksum


def _first(error: OSError | ValidationError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else error.errors()[0]["msg"]
