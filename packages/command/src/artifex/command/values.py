"""Parsers of option values."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

from artifex.command.errors import CommandError

MAX_STEPS: Final = 1_000_000
MAX_SEED: Final = 2**32 - 1
MAX_COUNT: Final = 10_000_000


def whole_number(name: str, low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in [low, high]."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise CommandError(f"{name} must be a whole number in [{low}, {high}], got {text!r}")
        return value

    return parse


def number(name: str, low: float, high: float) -> Callable[[str], float]:
    """Return a parser of numbers in [low, high]."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise CommandError(f"{name} must be a number in [{low}, {high}], got {text!r}")
        return value

    return parse


def path(name: str, what: str = "folder") -> Callable[[str | Path], Path]:
    """Return a parser of paths, in which a leading ``~`` is the home folder."""

    def parse(text: str | Path) -> Path:
        if not str(text):
            raise CommandError(f"{name} must be a {what}, got ''")
        try:
            return Path(text).expanduser()
        except RuntimeError as error:
            raise CommandError(f"{name}: {text} begins with an unknown home folder") from error

    return parse


def whole_numbers(name: str, text: str, high: int) -> list[int]:
    """Parse a list of whole numbers in [0, high], such as ``0,3,5-7``."""
    out: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)) or max(int(first), int(last or 0)) > high:
            raise CommandError(f"{name} must be whole numbers in [0, {high}] such as 0,3,5-7, got {text!r}")
        out += range(int(first), int(last or first) + 1)
    return out
