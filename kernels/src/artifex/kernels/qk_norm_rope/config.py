"""How qk_norm_rope is cut into programs, and which implementation is fastest."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs alone. On a GPU nothing is yet: XLA moves 2.5 times the bytes it has to forward."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        rows: heads, of one token after another, that a Triton program takes, a power of two.
        numbers: in a tile of a Pallas kernel, which holds all heads of its tokens.
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
"""Chosen without a GPU at hand: 32 numbers a thread at 72 of a head, in loads of 16 bytes, and nothing is spilled."""
