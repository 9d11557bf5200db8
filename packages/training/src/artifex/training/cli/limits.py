"""Largest values of options."""

from typing import Final

MAX_MINUTES: Final = 1440
MAX_PROCESSES: Final = 100_000
MAX_TIMEOUT: Final = 86_400
MAX_LABEL: Final = 99_999
MAX_WIDTH: Final = 0.288675
"""Of a power-function average, relative to the training: that of a uniform average."""
