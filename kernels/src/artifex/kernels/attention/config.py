"""What is known about the speed of attention's implementations, and the tiles they work in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from artifex.kernels.dispatch import ImplementationName

FASTEST: Final[Mapping[str, Sequence[ImplementationName]]] = {"cpu": ("xla",), "gpu": ("cudnn", "xla"), "tpu": ("xla",)}
"""By platform, fastest first; the first that can run is what ``None`` means.

``cpu`` was measured (``bench/kernels``). On the others nothing of this package has run yet. ``gpu`` goes by what others
measured on Hopper, where cuDNN does about ten times what XLA does (463 against 43 TFLOP/s at 1024 tokens of 64 wide
heads); ``triton`` and ``pallas`` stay names to ask for until they are measured.
"""


@dataclass(frozen=True)
class Tile:
    """What one program of a kernel works on.

    Attributes:
        queries: tokens at a time.
        keys: keys at a time.
        warps: of 32 threads each, that share the work.
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
    """Tiles that fit Hopper's registers and shared memory: chosen by what the compiler says, not by time.

    Nothing is spilled, but by heads more than 160 wide: 176 bytes a thread in the gradient of keys and values, 184 in
    float32's of the tokens. In float32 products are exact, not TF32, and so leave the matrix units aside.
    """
    if itemsize > 2:
        return TritonTiles(forward=Tile(16, 32, 8, 1), queries=Tile(16, 16, 8, 1), keys=Tile(32, 16, 8, 1))
    width = max(head_dim, value_dim)
    if width <= 128:
        return TritonTiles(forward=Tile(128, 64, 8, 3), queries=Tile(64, 64, 4, 2), keys=Tile(64, 64, 4, 2))
    keys = Tile(32, 64, 8, 1) if width <= 160 else Tile(16, 64, 8, 1)
    return TritonTiles(forward=Tile(128, 64, 8, 2), queries=Tile(128, 32, 8, 2), keys=keys)
