"""The fastest implementations of attention and the tiles of its kernels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[Mapping[str, Sequence[ImplementationName]]] = {"cpu": ("xla",), "gpu": ("cudnn", "xla"), "tpu": ("xla",)}
"""By platform, fastest first. ``cpu`` was measured; ``gpu`` follows others' measurements, see docs/kernels.md."""


@dataclass(frozen=True)
class Tile:
    """The tile of one program.

    Attributes:
        queries: tokens of a tile.
        keys: keys of a tile.
        warps: of 32 threads each.
        stages: loads in flight.
    """

    queries: int
    keys: int
    warps: int
    stages: int


@dataclass(frozen=True)
class TritonTiles:
    """The tiles of Triton's three kernels.

    Attributes:
        forward: for the output.
        queries: for the gradient of the tokens.
        keys: for the gradients of keys and values.
    """

    forward: Tile
    queries: Tile
    keys: Tile


def triton_tiles(head_dim: int, value_dim: int, itemsize: int) -> TritonTiles:
    """Tiles that fit Hopper's registers and shared memory, chosen from compiled code, not measured.

    No register is spilled for heads up to 160 wide. Products in float32 are exact, not TF32: no matrix unit is used.
    """
    if itemsize > 2:
        return TritonTiles(forward=Tile(16, 32, 8, 1), queries=Tile(16, 16, 8, 1), keys=Tile(32, 16, 8, 1))
    width = max(head_dim, value_dim)
    if width <= 128:
        return TritonTiles(forward=Tile(128, 64, 8, 3), queries=Tile(64, 64, 4, 2), keys=Tile(64, 64, 4, 2))
    keys = Tile(32, 64, 8, 1) if width <= 160 else Tile(16, 64, 8, 1)
    return TritonTiles(forward=Tile(128, 64, 8, 2), queries=Tile(128, 32, 8, 2), keys=keys)
