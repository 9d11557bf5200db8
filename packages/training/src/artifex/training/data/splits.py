"""Parts of a data set by their usual names."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal

Part = Literal["train", "val", "test"]

NAMES: Final[Mapping[Part, tuple[str, ...]]] = MappingProxyType(
    {
        "train": ("train", "training"),
        "val": ("val", "valid", "validation", "dev"),
        "test": ("test", "testing"),
    }
)
"""The names of each split, in any case."""


def parts_of(names: Iterable[str]) -> dict[Part, list[str]]:
    """Which of ``names`` is which part, in their order."""
    found: dict[Part, list[str]] = {}
    for name in sorted(names):
        for part, called in NAMES.items():
            if name.lower() in called:
                found.setdefault(part, []).append(name)
    return found
