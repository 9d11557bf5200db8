"""Parsers of option values, and the error of a command."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

from artifex.training.files import expanded

MAX_STEPS: Final = 1_000_000
MAX_SEED: Final = 2**32 - 1
MAX_MINUTES: Final = 1440
MAX_PROCESSES: Final = 100_000
MAX_TIMEOUT: Final = 86_400
MAX_COUNT: Final = 10_000_000
MAX_LABEL: Final = 99_999
MAX_WIDTH: Final = 0.288675
"""Of a power-function average, relative to the training: that of a uniform average."""


class CommandError(Exception):
    """A command that failed; the message is one line: what was expected, and what was got.

    Attributes:
        code: the exit code, 2 for invalid input.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def message_of(error: Exception) -> str:
    """Return the message of an error; of the operating system's, file and reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower()
    return str(error)


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
            return expanded(text)
        except ValueError as error:
            raise CommandError(f"{name}: {error}") from error

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
