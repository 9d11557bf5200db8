"""The fastest implementation of guided_combine and the tiles of its kernels, which run one program per sample."""

from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[tuple[ImplementationName, ...]] = ("xla",)
"""Measured on CPUs only."""


@dataclass(frozen=True)
class Config:
    """A kernel's tile.

    Attributes:
        block: most elements of a sample that a program reads once and keeps, a power of two.
        chunk: elements that it reads at a time of a larger sample, in one pass for each statistic; a power of two.
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
        """Block or chunk, and warps, for samples of ``n`` elements: 32 elements per thread for small samples."""
        block = self.chunk if n > self.block else max(128, 1 << (n - 1).bit_length())
        return block, min(self.warps, max(1, block // 1024))


DEFAULT: Final = Config()
"""Chosen from compiled code, not measured: a latent of 64 x 64 x 4 stays in the registers of its program."""
