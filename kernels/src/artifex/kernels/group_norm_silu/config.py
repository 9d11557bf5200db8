"""How group_norm_silu is cut into programs, and which implementation is fastest."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs alone. On a GPU nothing is yet: XLA's is three kernels too, which move the bytes that these move."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        rows: places that a program takes at once, a power of two.
        columns: channels of a Triton program's tile at most, a power of two; they are contiguous in memory.
        tiles: of places that a program takes one after another, where it sums over them.
        numbers: in a tile of a Pallas kernel, which holds all channels.
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
"""Chosen without a GPU at hand: 32 numbers a thread, in loads of 16 bytes, and nothing is spilled."""
