"""How a network's parameters are called elsewhere, and how they lie there.

A family is one small table, read in both directions: from a module's path here to its name there, ``*`` standing for
a number. What is left of a path, ``kernel``, ``bias``, ``gamma`` ..., is ``weight`` or ``bias`` everywhere.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

Shape = tuple[int, ...]

LEAVES: Final[Mapping[str, str]] = {
    "kernel": "weight",
    "scale": "weight",
    "gamma": "weight",
    "table": "weight",
    "bias": "bias",
    "beta": "bias",
}


@dataclass(frozen=True)
class Name:
    """A module's name elsewhere.

    Attributes:
        parts: One name, or several for what is one array here: their arrays side by side along the output axis or,
            with ``copies``, the same array again and again.
        spatial: The sides of the convolution that a matrix here is there: (1, 1) for a 1x1 convolution of images,
            (1,) of sequences, (p, p) for what cuts an image into patches.
        copies: See ``parts``.
        heads: There, the output is grouped by head first and by query, key and value then; here the other way round.
        qkv: Here, the output has three axes: query, key or value; head; and what is in one.
    """

    parts: tuple[str, ...]
    spatial: Shape = ()
    copies: bool = False
    heads: int | None = None
    qkv: bool = False


Table = Mapping[str, Name]


def name(*parts: str, spatial: Shape = (), copies: bool = False, heads: int | None = None, qkv: bool = False) -> Name:
    """A `Name`."""
    return Name(parts, spatial, copies, heads, qkv)


def under(ours: str, theirs: str, table: Table) -> dict[str, Name]:
    """``table`` with a prefix put before both sides of each line; an empty one adds nothing."""

    def join(prefix: str, rest: str) -> str:
        return f"{prefix}.{rest}" if prefix else rest

    return {
        join(ours, key): replace(value, parts=tuple(join(theirs, part) for part in value.parts))
        for key, value in table.items()
    }


@dataclass(frozen=True)
class Entry:
    """One parameter here, and the arrays that it is there.

    Attributes:
        path: Its path here, joined by dots.
        shape: Its shape here.
        name: Its module's name there.
        parts: The full names of the arrays there.
    """

    path: str
    shape: Shape
    name: Name
    parts: tuple[str, ...]

    @property
    def pieces(self) -> int:
        """How many different arrays it is there."""
        return 1 if self.name.copies else len(self.parts)

    @property
    def is_kernel(self) -> bool:
        """Whether its axes are in another order there."""
        return self.path.endswith(".kernel")

    @property
    def flat(self) -> Shape:
        """Its shape here, with the output in one axis."""
        return (*self.shape[:-3], math.prod(self.shape[-3:])) if self.name.qkv else self.shape

    @property
    def spatial(self) -> Shape:
        """The sides of its convolution there."""
        return self.flat[:-2] or self.name.spatial

    @property
    def theirs(self) -> Shape:
        """The shape of each array there."""
        outer = self.flat[-1] // self.pieces
        if not self.is_kernel:
            return (*self.flat[:-1], outer)
        inner = math.prod(self.flat[:-1]) // math.prod(self.spatial)
        return (outer, inner, *self.spatial)

    def load(self, arrays: list[np.ndarray]) -> np.ndarray:
        """The parameter here, from its arrays there."""
        arrays = [self._by_head(array, inverse=True) for array in arrays[: self.pieces]]
        if self.is_kernel:
            arrays = [array.transpose(*range(2, array.ndim), 1, 0) for array in arrays]
        whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)
        return np.array(whole.reshape(self.shape), order="C")

    def save(self, array: np.ndarray) -> list[np.ndarray]:
        """The arrays there, from the parameter here."""
        array = array.reshape(self.flat)
        if self.is_kernel:
            outer, inner, *spatial = self.theirs
            array = array.reshape(*spatial, inner, outer * self.pieces)
        arrays = np.split(array, self.pieces, axis=-1)
        if self.is_kernel:
            last = array.ndim - 1
            arrays = [piece.transpose(last, last - 1, *range(last - 1)) for piece in arrays]
        arrays = [self._by_head(piece, inverse=False) for piece in arrays]
        return arrays * len(self.parts) if self.name.copies else arrays

    def _by_head(self, array: np.ndarray, *, inverse: bool) -> np.ndarray:
        if self.name.heads is None:
            return array
        grouped = (self.name.heads, 3) if inverse else (3, self.name.heads)
        return array.reshape(*grouped, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def entries(shapes: Iterable[tuple[str, Shape]], table: Table) -> list[Entry]:
    """Look every parameter up; a KeyError, a mistake of ours, if the table has no or more than one line for one."""
    patterns = [(re.compile(re.escape(key).replace(r"\*", r"(\d+)")), value) for key, value in table.items()]

    def entry(path: str, shape: Shape) -> Entry:
        module, _, leaf = path.rpartition(".")
        found = [(value, match, "") for pattern, value in patterns if (match := pattern.fullmatch(path))]
        found += [(value, match, LEAVES[leaf]) for pattern, value in patterns if (match := pattern.fullmatch(module))]
        if len(found) != 1:
            raise KeyError(f"{len(found)} names for the parameter {path}, expected 1")
        value, match, suffix = found[0]
        parts = tuple(_fill(part, match.groups()) + (f".{suffix}" if suffix else "") for part in value.parts)
        return Entry(path, shape, value, parts)

    return [entry(path, shape) for path, shape in shapes]


def _fill(pattern: str, numbers: tuple[str, ...]) -> str:
    rest = iter(numbers)
    return re.sub(r"\*", lambda _: next(rest), pattern)
