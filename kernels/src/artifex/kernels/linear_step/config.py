"""The fastest implementation of linear_step and the tiles of its kernels."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs only; docs/kernels.md estimates GPUs."""


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
"""Chosen from compiled code, not measured: 8 elements per thread, and no register is spilled."""
