"""The memory layout and tiles of Pallas' attention."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels.attention.vjp import Inputs
from artifex.kernels.platform import Target, pallas_call, platform, shaped

Axis = Literal["t", "s"]
Refs = Mapping[str, jax.Ref]

AXES: Final[Mapping[str, tuple[Axis | None, Axis | None]]] = {
    "q": ("t", None),
    "k": ("s", None),
    "v": ("s", None),
    "bias": ("t", "s"),
    "mask": ("t", "s"),
    "q_segments": ("t", None),
    "k_segments": (None, "s"),
    "out": ("t", None),
    "lse": ("t", None),
    "d_out": ("t", None),
    "delta": ("t", None),
    "d_q": ("t", None),
    "d_k": ("s", None),
    "d_v": ("s", None),
}
"""The last two axes of each array: tokens, keys, or neither; the first two are batch and heads, or 1."""


@dataclass(frozen=True)
class Tiles:
    """Arrays padded to whole tiles, so that no load needs a mask of its own.

    Attributes:
        t: tokens.
        s: keys.
        queries: tokens of a tile.
        keys: keys of a tile.
        target: what to lower for.
    """

    t: int
    s: int
    queries: int
    keys: int
    target: Target | None

    def size(self, axis: Axis) -> int:
        """The size of a tile along ``axis``."""
        return self.queries if axis == "t" else self.keys

    def count(self, axis: Axis) -> int:
        """The number of tiles along ``axis``."""
        return pl.cdiv(self.t if axis == "t" else self.s, self.size(axis))

    def arrays(self, x: Inputs) -> dict[str, Array]:
        """All arrays that are not None, by name."""
        arrays = {"q": self.of_heads("q", x.q), "k": self.of_heads("k", x.k), "v": self.of_heads("v", x.v)}
        if x.bias is not None:
            arrays["bias"] = self.padded("bias", x.bias)
        if x.mask is not None:
            arrays["mask"] = self.padded("mask", x.mask.astype(jnp.int8))
        if x.segments is not None:
            arrays["q_segments"] = self.padded("q_segments", x.segments[0][:, None, :, None])
            arrays["k_segments"] = self.padded("k_segments", x.segments[1][:, None, None])
        return arrays

    def of_heads(self, name: str, x: Array) -> Array:
        """``(b, n, h, width)`` as ``(b, h, n, width)``, padded; on GPUs to powers of two, for Triton."""
        on_gpu = self.target == "gpu" or (self.target is None and platform() == "gpu")
        width = max(16, pl.next_power_of_2(x.shape[3])) if on_gpu else x.shape[3]
        x = jnp.pad(jnp.swapaxes(x, 1, 2), ((0, 0), (0, 0), (0, 0), (0, width - x.shape[3])))
        return self.padded(name, x)

    def padded(self, name: str, x: Array) -> Array:
        """``x`` padded with zeros to whole tiles, except for axes of size 1, which are broadcast."""
        ends = [
            0 if axis is None or n == 1 else self.count(axis) * self.size(axis) - n
            for axis, n in zip(AXES[name], x.shape[2:], strict=True)
        ]
        return jnp.pad(x, ((0, 0), (0, 0), (0, ends[0]), (0, ends[1])))

    def tile(self, x: Refs, name: str, i: Array, j: Array) -> Array:
        """The tile of tokens ``i`` and keys ``j`` from a program's block of an array."""
        ref = x[name]

        def part(axis: Axis | None, n: int) -> slice | pl.Slice:
            if axis is None or n <= self.size(axis):
                return slice(None)
            size = self.size(axis)
            return pl.ds(pl.multiple_of((i if axis == "t" else j) * size, size), size)

        rows, cols = (part(axis, n) for axis, n in zip(AXES[name], ref.shape, strict=True))
        got: Array = ref[rows, cols]
        return got

    def call(
        self,
        kernel: Callable[[Refs, Array], None],
        along: Axis,
        arrays: Mapping[str, Array],
        out: Mapping[str, tuple[int, DTypeLike]],
    ) -> tuple[Array, ...]:
        """Runs a kernel on every tile of ``along`` of every head.

        Args:
            kernel: takes references by name, to the tile along ``along`` and to all of the other axis, and the tile's
                number.
            along: axis that is split over programs.
            arrays: the inputs.
            out: last axis and dtype of the outputs.
        """
        b, h = arrays["q"].shape[:2]
        shapes = {name: x.shape for name, x in arrays.items()}
        for name, (width, _) in out.items():
            axis = AXES[name][0]
            assert axis is not None
            shapes[name] = (b, h, self.count(axis) * self.size(axis), width)

        def block(name: str) -> pl.BlockSpec:
            shape, axes = shapes[name], AXES[name]
            split = [axis == along and n > 1 for axis, n in zip(axes, shape[2:], strict=True)]
            sides = [self.size(along) if w else n for w, n in zip(split, shape[2:], strict=True)]

            def at(b: Array, h: Array, i: Array) -> tuple[Array | int, ...]:
                return (b if shape[0] > 1 else 0, h if shape[1] > 1 else 0, *(i if w else 0 for w in split))

            return pl.BlockSpec((None, None, *sides), at)

        def run(*refs: jax.Ref) -> None:
            kernel(dict(zip(shapes, refs, strict=True)), pl.program_id(2))

        call = pallas_call(
            run,
            self.target,
            grid=(b, h, self.count(along)),
            in_specs=[block(name) for name in arrays],
            out_specs=[block(name) for name in out],
            out_shape=[shaped(shapes[name], dtype) for name, (_, dtype) in out.items()],
            name=f"attention_{'_'.join(out)}",
        )
        return call(*arrays.values())
