"""The fastest implementation of adaln and the tiles of its kernels."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs only; docs/kernels.md estimates GPUs."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        rows: tokens of one sample that a Triton program processes in sequence, a power of two; it writes the partial
            sums for the gradients of scale, shift and gate once.
        numbers: elements in a tile of a Pallas kernel, a power of two.
        warps: of a program on a GPU for 2048 channels; a Triton program takes more for more channels, up to 16.

    Raises:
        ValueError: for rows or numbers that are no power of two, or no warps.
    """

    rows: int = 16
    numbers: int = 8192
    warps: int = 4

    def __post_init__(self) -> None:
        for name in ("rows", "numbers"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, got {value}")
        if self.warps < 1:
            raise ValueError(f"warps must be positive, got {self.warps}")


DEFAULT: Final = Config()
"""Chosen from compiled code, not measured: 16 elements per thread at 1152 channels, and no register is spilled."""
