"""How the linear step is cut into programs, and which implementation is fastest."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs alone. On a GPU nothing is yet; a step without noise is one pass by XLA too."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        block: numbers of one sample that a program computes, a power of two; 128 at least.
        warps: of a program on a GPU.

    Raises:
        ValueError: for a block that is no power of two of at least 128, or no warps.
    """

    block: int = 1024
    warps: int = 4

    def __post_init__(self) -> None:
        if self.block < 128 or self.block & (self.block - 1):
            raise ValueError(f"block must be a power of two and at least 128, got {self.block}")
        if self.warps < 1:
            raise ValueError(f"warps must be positive, got {self.warps}")


DEFAULT: Final = Config()
"""Chosen without a GPU at hand: 8 numbers a thread, so that loads are of 16 bytes and nothing is spilled."""
