"""How adaln is cut into programs, and which implementation is fastest."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs alone. On a GPU nothing is yet: XLA moves 1.3 times the bytes it has to forward, 3 times backward,
so that is where the Triton implementation should gain."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        rows: tokens of one sample that a program takes one after another, a power of two; what it sums over them for
            the gradients of scale, shift and gate is written once.
        numbers: in a tile of a Pallas kernel, of as many tokens as that comes to.
        warps: of a program on a GPU, for 2048 channels; a Triton program takes more of them for more, 16 at most.

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
"""Chosen without a GPU at hand: 16 numbers a thread at 1152 channels, in loads of 16 bytes, and nothing is spilled."""
