"""The image files below a folder, each once, and counts of everything else in it."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

JUNK: Final = ("@eaDir", "__MACOSX", "__pycache__")
"""Folders created by archivers, file servers and interpreters."""


@dataclass(frozen=True)
class Found:
    """The files below a folder.

    Attributes:
        files: names of the images, with slashes, sorted.
        folders: names of the top-level subfolders that were read, sorted.
        broken: those of ``files`` that are broken links.
        left_out: number of entries that were left out, by reason.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    broken: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


def listed(left_out: Mapping[str, int]) -> str:
    """Format the counts of entries that were left out: ``.heic (12), hidden (3)``."""
    return ", ".join(f"{reason} ({count:,})" for reason, count in sorted(left_out.items()))


def is_left_out(name: str) -> bool:
    """Return True for the names of hidden files and of ``JUNK``."""
    return name.startswith(".") or name in JUNK


def find_images(folder: Path, extensions: tuple[str, ...]) -> Found:
    """Find the images below ``folder``.

    Links are followed, and nothing is read twice: a link to a folder that is read anyway, or that contains ``folder``,
    is left out, and so is one to an image that its class already has.

    Args:
        folder: to search.
        extensions: of the names of images, in lower case; names are compared without case.

    Raises:
        OSError: if a folder can't be read.
    """
    root = os.path.realpath(folder)
    images, links, left_out = list[tuple[str, str]](), list[str](), Counter[str]()
    visited, folders = {root}, list[str]()
    ahead: list[tuple[str, str, str]] = [(str(folder), "", root)]
    linked: list[tuple[str, str, str]] = []
    while ahead or linked:
        # Actual folders come first, so that a link never takes their place.
        path, inside, real = ahead.pop() if ahead else linked.pop(0)
        if inside and real in visited:
            left_out["links to folders read already"] += 1
            continue
        visited.add(real)
        if inside and "/" not in inside:
            folders.append(inside)
        found = list[tuple[str, str, str]]()
        for entry in _entries(path):
            name = f"{inside}/{entry.name}" if inside else entry.name
            if entry.name in JUNK:
                left_out[entry.name] += 1
            elif is_left_out(entry.name):
                left_out["hidden"] += 1
            elif entry.is_symlink() and Path(entry.path).is_dir():
                target = os.path.realpath(entry.path)
                if _lies_in(root, target):
                    left_out["links to folders around them"] += 1
                else:
                    found.append((entry.path, name, target))
            elif entry.is_dir(follow_symlinks=False):
                ahead.append((entry.path, name, f"{real}/{entry.name}"))
            elif not entry.is_symlink() and not entry.is_file(follow_symlinks=False):
                left_out["pipes and devices"] += 1
            elif not entry.name.lower().endswith(extensions):
                left_out[Path(entry.name).suffix.lower() or "without an extension"] += 1
            elif entry.is_symlink():
                links.append(name)
            else:
                images.append((name, f"{real}/{entry.name}"))
        linked = sorted([*linked, *found])
    kept, broken = _once(folder, images, links, left_out)
    return Found(tuple(sorted(kept)), tuple(sorted(folders)), broken, left_out)


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        yield from entries


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _once(
    folder: Path, images: list[tuple[str, str]], links: list[str], left_out: Counter[str]
) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of ``images`` and of ``links`` to other images, and which of these are broken."""
    kept, broken = [name for name, _ in images], list[str]()
    known = {(_top(name), real) for name, real in images} if links else set()
    for name in sorted(links):
        real = os.path.realpath(folder / name)
        if (_top(name), real) in known:
            left_out["links to images read already"] += 1
            continue
        known.add((_top(name), real))
        kept.append(name)
        if not Path(real).exists():
            broken.append(name)
    return kept, tuple(broken)


def _top(name: str) -> str:
    """Return the top-level subfolder of an image; empty if there is none."""
    return name.partition("/")[0] if "/" in name else ""
