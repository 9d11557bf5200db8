"""How the guided combination is cut into programs, one a sample, and which implementation is fastest."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs alone. On a GPU nothing is yet."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        block: numbers of a sample that a program can hold, a power of two; it reads such a sample once.
        chunk: numbers that it holds at a time of a larger sample, of which every statistic is a pass of its own; a
            power of two.
        warps: of a program on a GPU.

    Raises:
        ValueError: for a block or chunk that is no power of two of at least 128, or no warps.
    """

    block: int = 16384
    chunk: int = 8192
    warps: int = 16

    def __post_init__(self) -> None:
        for name, size in (("block", self.block), ("chunk", self.chunk)):
            if size < 128 or size & (size - 1):
                raise ValueError(f"{name} must be a power of two and at least 128, got {size}")
        if self.warps < 1:
            raise ValueError(f"warps must be positive, got {self.warps}")

    def fitted(self, n: int) -> tuple[int, int]:
        """Block or chunk, and warps, for samples of ``n`` numbers: 32 numbers a thread where there are few."""
        block = self.chunk if n > self.block else max(128, 1 << (n - 1).bit_length())
        return block, min(self.warps, max(1, block // 1024))


DEFAULT: Final = Config()
"""Chosen without a GPU at hand: a latent of 64 x 64 x 4 stays in the registers of its program."""
