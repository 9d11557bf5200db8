"""The fastest implementation of group_norm_silu and the tiles of its kernels."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs only; docs/kernels.md estimates GPUs."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        rows: pixels of a tile, a power of two.
        columns: most channels of a Triton program's tile, a power of two; they are contiguous in memory.
        tiles: number of tiles that a Triton program sums over.
        numbers: elements in a tile of a Pallas kernel, which has all channels; a power of two.
        warps: of a program on a GPU.

    Raises:
        ValueError: for rows, columns or numbers that are no power of two, or no tiles or warps.
    """

    rows: int = 32
    columns: int = 128
    tiles: int = 4
    numbers: int = 8192
    warps: int = 4

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "numbers"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, got {value}")
        if self.tiles < 1 or self.warps < 1:
            raise ValueError(f"tiles and warps must be positive, got {self.tiles} and {self.warps}")


DEFAULT: Final = Config()
"""Chosen from compiled code, not measured: 32 elements per thread, and no register is spilled."""
