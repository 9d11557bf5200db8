"""The folder of the results, checked before any work is done."""

import tempfile
from pathlib import Path

from artifex.command.errors import CommandError


def check_results(out: Path, files: tuple[str, ...], folders: tuple[str, ...]) -> None:
    """Raise a CommandError if something is in the way of a result, without writing anything."""
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise CommandError(
                f"--out must be a folder, got {out}, {'a file' if path == out else f'inside a file: {path}'}"
            )
    for name in files:
        if (out / name).is_dir():
            raise CommandError(f"{out / name} must be a file that can be replaced, got a folder")
    for name in folders:
        if (out / name).exists() and not (out / name).is_dir():
            raise CommandError(f"{out / name} must be a folder, got a file")


def make_writable(out: Path) -> None:
    """Create the folder, and write and delete a file in it.

    Raises:
        CommandError: if that fails; then created folders are removed again.
    """
    created: list[Path] = []
    try:
        for folder in (*reversed(out.parents), out):
            if not folder.is_dir():
                folder.mkdir()
                created.append(folder)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        for folder in reversed(created):
            folder.rmdir()
        raise CommandError(
            f"--out must be a folder that can be written to, got {out}: {(error.strerror or str(error)).lower()}"
        ) from error
