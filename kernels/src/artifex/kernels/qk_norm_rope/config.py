"""The fastest implementation of qk_norm_rope and the tiles of its kernels."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs only; docs/kernels.md estimates GPUs."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        rows: heads of consecutive tokens in a Triton program's tile, a power of two.
        numbers: elements in a tile of a Pallas kernel, which has all heads of its tokens; a power of two.
        warps: of a program on a GPU.

    Raises:
        ValueError: for rows or numbers that are no power of two, or no warps.
    """

    rows: int = 32
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
"""Chosen from compiled code, not measured: 32 elements per thread for heads of 72, and no register is spilled."""
