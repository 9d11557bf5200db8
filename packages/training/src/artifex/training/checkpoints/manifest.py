"""The seal of a checkpoint: the size and checksum of each of its files, and what wrote them.

Orbax renames a checkpoint into place when all of it is written, so a process that dies while saving leaves nothing
half-done. Disks do: a file is cut short, lost, or has other bits. The seal is written last, before the rename, and is
what tells such a checkpoint from a whole one before anything is read from it.
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

FORMAT: Final = 1
"""Of what a checkpoint has in it, and where."""
ITEM: Final = "seal"
FILE: Final = "files.json"
PACKAGES: Final = ("artifex-training", "flax", "jax", "numpy", "optax", "orbax-checkpoint")


def versions() -> dict[str, str]:
    """What runs here, by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


class Record(BaseModel):
    """What a seal says.

    Attributes:
        format: of the checkpoint.
        versions: of what wrote it.
        files: size and CRC-32 of each, by its path.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    versions: dict[str, str]
    files: dict[str, tuple[int, int]]


class SealHandler(ocp.CheckpointHandler):  # type: ignore[misc]
    """Writes the seal when Orbax is done with the other items, of which it must be the last."""

    def save(self, directory: PathLike[str], args: "Seal") -> None:
        """There is nothing to seal yet."""

    def restore(self, directory: PathLike[str], args: "Seal") -> None:
        """There is nothing to restore; see ``flaw``."""

    def finalize(self, directory: PathLike[str]) -> None:
        """Take stock of all items' files."""
        files = {name: _digest(path) for name, path in _files(Path(directory).parent)}
        record = Record(format=FORMAT, versions=versions(), files=files)
        (Path(directory) / FILE).write_text(record.model_dump_json(indent=1))


@ocp.args.register_with_handler(SealHandler, for_save=True, for_restore=True)
@dataclass
class Seal(ocp.args.CheckpointArgs):  # type: ignore[misc]
    """Asks for a seal."""


def read(folder: Path) -> Record:
    """The seal of the checkpoint in ``folder``.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unreadable.
    """
    return Record.model_validate_json((folder / ITEM / FILE).read_bytes())


def flaw(folder: Path) -> str | None:
    """Why the checkpoint in ``folder`` can't be trusted, None where it can: every file is read once."""
    try:
        record = read(folder)
    except FileNotFoundError:
        return "it has no seal, so it is incomplete or of an earlier version of Artifex"
    except (OSError, ValidationError) as error:
        return f"its seal is unreadable ({_first(error)})"
    if record.format != FORMAT:
        return f"its format is {record.format}, and this version of Artifex reads {FORMAT}"
    found = dict(_files(folder))
    for name, (size, checksum) in sorted(record.files.items()):
        if name not in found:
            return f"{name} is missing"
        try:
            got = _digest(found[name])
        except OSError as error:
            return f"{name} is unreadable ({_first(error)})"
        if got[0] != size:
            return f"{name} has {got[0]:,} bytes instead of {size:,}"
        if got[1] != checksum:
            return f"{name} has other bits than were written"
    return None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of all items but the seal; what lies beside the items is Orbax's, and is written later."""
    for path in sorted(folder.glob("*/**/*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] != ITEM:
            yield name.as_posix(), path


def _digest(path: Path) -> tuple[int, int]:
    """Size and CRC-32."""
    size, checksum = 0, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return size, checksum


def _first(error: OSError | ValidationError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else error.errors()[0]["msg"]
