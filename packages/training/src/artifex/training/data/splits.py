"""Parts of a data set by their common names."""

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
    """Group ``names`` by part."""
    found: dict[Part, list[str]] = {}
    for name in sorted(names):
        for part, synonyms in NAMES.items():
            if name.lower() in synonyms:
                found.setdefault(part, []).append(name)
    return found
