"""Mappings of parameter paths to the keys and layouts of published checkpoints.

A ``KeyMapping`` maps a module's path here to its name there and is used in both directions; ``*`` matches a number. The
last part of a path, ``kernel``, ``bias``, ``gamma`` ..., is always ``weight`` or ``bias`` there.
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
    """A module's name in a published checkpoint.

    Attributes:
        parts: one name, or several whose arrays are concatenated along the output axis to one array here or, with
            ``copies``, are all equal.
        spatial: the kernel size of the convolution there that is a matrix here: (1, 1) for a 1x1 convolution of images,
            (1,) of sequences, (p, p) for a patch embedding.
        copies: see ``parts``.
        heads: number of heads, if the output there is grouped by head first and by query, key and value second, in
            contrast to the output here.
        qkv: whether the output here has three axes: query, key or value; head; channel.
        transposed: whether a matrix there has its axes in the order here, in contrast to PyTorch's layers.
    """

    parts: tuple[str, ...]
    spatial: Shape = ()
    copies: bool = False
    heads: int | None = None
    qkv: bool = False
    transposed: bool = False


KeyMapping = Mapping[str, Name]


def name(
    *parts: str,
    spatial: Shape = (),
    copies: bool = False,
    heads: int | None = None,
    qkv: bool = False,
    transposed: bool = False,
) -> Name:
    """A ``Name``."""
    return Name(parts, spatial, copies, heads, qkv, transposed)


def with_prefix(ours: str, theirs: str, mapping: KeyMapping) -> dict[str, Name]:
    """Prepend a prefix to both sides of a mapping; an empty prefix adds nothing."""

    def join(prefix: str, rest: str) -> str:
        return f"{prefix}.{rest}" if prefix else rest

    return {
        join(ours, key): replace(value, parts=tuple(join(theirs, part) for part in value.parts))
        for key, value in mapping.items()
    }


@dataclass(frozen=True)
class Entry:
    """One parameter here, and its arrays in a published checkpoint.

    Attributes:
        path: its dotted path here.
        shape: its shape here.
        name: its module's name there.
        parts: the full names of the arrays there.
    """

    path: str
    shape: Shape
    name: Name
    parts: tuple[str, ...]

    @property
    def pieces(self) -> int:
        """The number of different arrays there."""
        return 1 if self.name.copies else len(self.parts)

    @property
    def is_kernel(self) -> bool:
        """True for a kernel, whose axes are in another order there."""
        return self.path.endswith(".kernel") and not self.name.transposed

    @property
    def flat(self) -> Shape:
        """Its shape here with a single output axis."""
        return (*self.shape[:-3], math.prod(self.shape[-3:])) if self.name.qkv else self.shape

    @property
    def spatial(self) -> Shape:
        """The kernel size of its convolution there."""
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
        """The parameter here of its arrays there."""
        arrays = [self._by_head(array, inverse=True) for array in arrays[: self.pieces]]
        if self.is_kernel:
            arrays = [array.transpose(*range(2, array.ndim), 1, 0) for array in arrays]
        whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)
        return np.array(whole.reshape(self.shape), order="C")

    def save(self, array: np.ndarray) -> list[np.ndarray]:
        """The arrays there of the parameter here."""
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


def entries(shapes: Iterable[tuple[str, Shape]], mapping: KeyMapping) -> list[Entry]:
    """Look up every parameter; a KeyError, which is a bug, unless exactly one pattern matches."""
    patterns = [(re.compile(re.escape(key).replace(r"\*", r"(\d+)")), value) for key, value in mapping.items()]

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
