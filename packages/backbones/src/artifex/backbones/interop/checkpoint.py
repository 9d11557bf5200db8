"""Arrays in safetensors files, read one at a time."""

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NoReturn

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from safetensors import SafetensorError, safe_open

PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
DTYPES: Final[Mapping[str, DTypeLike]] = {"F32": jnp.float32, "F16": jnp.float16, "BF16": jnp.bfloat16}
STEM: Final = "diffusion_pytorch_model"
# The variant is in front of the suffix; in an index after the word index, in older folders in front of it.
_WEIGHTS: Final = (
    r"{stem}\.safetensors\.(?:(?P<old>.+)\.)?index(?:\.(?P<variant>.+))?\.json",
    r"{stem}(?!.*-\d+-of-\d)(?P<old>)(?:\.(?P<variant>.+))?\.safetensors",
)


class CheckpointError(ValueError):
    """A checkpoint that is broken, incomplete, or not supported."""


def refuse_pickle(path: Path) -> None:
    """Raise CheckpointError if ``path`` has the suffix of a pickled file, as unpickling can run code."""
    if path.suffix in PICKLES:
        raise CheckpointError(
            f"{path} is a pickle, which can run code when it is read; convert it first, with PyTorch: "
            f"safetensors.torch.save_file(torch.load({path.name!r}, weights_only=True), {path.stem + '.safetensors'!r})"
        )


class Checkpoint:
    """The arrays of one or more safetensors files.

    Opening reads the headers and checks them against the sizes of the files. Each array is memory-mapped when read, and
    released with the array.

    Args:
        files: the files.
        ignored: patterns of ``fnmatch`` for the names of arrays to leave out, of any dtype.

    Attributes:
        shapes: each array's shape, by name.

    Raises:
        CheckpointError: if a file is missing, pickled, truncated or corrupt, or has an array of another dtype.
    """

    def __init__(self, files: list[Path], ignored: Sequence[str] = ()) -> None:
        self._files: dict[str, Path] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path in files:
            refuse_pickle(path)
            try:
                if not path.is_file():
                    raise CheckpointError(f"no file {path}")
                with safe_open(path, "np") as file, path.open("rb") as raw:  # safe_open checks the whole header
                    length = int.from_bytes(raw.read(8), "little")
                    header = json.loads(raw.read(length))
                    for key in file.keys():  # noqa: SIM118
                        if matches(key, ignored):
                            continue
                        piece = file.get_slice(key)
                        shape, dtype = tuple(piece.get_shape()), piece.get_dtype()
                        if dtype not in DTYPES:
                            raise CheckpointError(
                                f"{key} in {path} is of dtype {dtype}, expected one of {tuple(DTYPES)}"
                            )
                        if key in self._files:
                            raise CheckpointError(f"{key} is both in {self._files[key]} and in {path}")
                        self._files[key], self.shapes[key] = path, shape
                        self._places[key] = dtype, 8 + length + header[key]["data_offsets"][0]
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path} is cut short, or no safetensors file at all: {error}") from error

    @property
    def dtype(self) -> str:
        """Dtype of most of the values, ``"F32"``, ``"F16"`` or ``"BF16"``."""
        sizes = dict.fromkeys(DTYPES, 0)
        for key, (dtype, _) in self._places.items():
            sizes[dtype] += math.prod(self.shapes[key])
        return max(sizes, key=lambda dtype: sizes[dtype])

    def read(self, key: str) -> np.ndarray:
        """The array ``key``, memory-mapped and read-only."""
        name, offset = self._places[key]
        dtype, shape = jnp.dtype(DTYPES[name]), self.shapes[key]
        if 0 in shape:
            return np.zeros(shape, dtype)
        return np.memmap(self._files[key], dtype, "r", offset, shape or (1,)).reshape(shape)

    def part(self, prefix: str, ignored: Sequence[str] = ()) -> "Checkpoint":
        """The arrays whose names begin with ``prefix``, under the rest of their names.

        Args:
            prefix: of the names.
            ignored: patterns of ``fnmatch`` for the rest of the names of arrays to leave out.
        """
        names = {key.removeprefix(prefix): key for key in self.shapes if key.startswith(prefix)}
        names = {name: key for name, key in names.items() if not matches(name, ignored)}
        found = copy.copy(self)
        found.shapes = {name: self.shapes[key] for name, key in names.items()}
        found._files = {name: self._files[key] for name, key in names.items()}
        found._places = {name: self._places[key] for name, key in names.items()}
        return found


def open_file(path: Path) -> Checkpoint:
    """Open one safetensors file."""
    return Checkpoint([path])


def open_folder(
    folder: Path, variant: str | None = None, *, stem: str = STEM, ignored: Sequence[str] = ()
) -> Checkpoint:
    """Open the weights of a folder: one file, or several with an index.

    Args:
        folder: the folder of ``stem[.variant].safetensors`` or its index.
        variant: such as ``"fp16"``; None for plain files.
        stem: of the names of the files; that of diffusers by default.
        ignored: see ``Checkpoint``.

    Raises:
        CheckpointError: if there are no weights or only pickled ones, or if the index does not match the files.
    """
    found = variants(folder, stem)
    if variant not in found:
        _refuse_missing(folder, variant, found, stem)
    index = found[variant]
    if index.suffix == ".safetensors":
        return Checkpoint([index], ignored)
    where = read_json(index).get("weight_map")
    if not isinstance(where, Mapping) or not all(isinstance(value, str) for value in where.values()):
        raise CheckpointError(f"weight_map in {index} must map names to files, got {where!r}")
    names = sorted(set(where.values()))
    if not all(is_name(name) for name in names):
        raise CheckpointError(f"weight_map in {index} must name files beside it, got {names}")
    checkpoint = Checkpoint([folder / name for name in names], ignored)
    if others := sorted({key for key in where if not matches(key, ignored)} ^ set(checkpoint.shapes)):
        raise CheckpointError(f"{index} and the files that it names disagree on {others[:3]}")
    return checkpoint


def matches(key: str, patterns: Sequence[str]) -> bool:
    """True if ``key`` fits one of ``patterns`` of ``fnmatch``."""
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def variants(folder: Path, stem: str = STEM) -> dict[str | None, Path]:
    """The weights file or index of each variant in a folder, plain files first."""
    found: dict[str | None, Path] = {}
    for pattern in _WEIGHTS:
        for path in sorted(folder.glob(f"{stem}.*")):
            if (match := re.fullmatch(pattern.format(stem=stem), path.name)) and path.is_file():
                found[match["variant"] or match["old"] or None] = path
    return dict(sorted(found.items(), key=lambda item: item[0] or ""))


def index_name(stem: str = STEM) -> str:
    """Name of the index of several files."""
    return f"{stem}.safetensors.index.json"


def _refuse_missing(folder: Path, variant: str | None, found: Mapping[str | None, Path], stem: str) -> NoReturn:
    """Raise the error for a missing variant, which lists the present ones."""
    infix = "" if variant is None else f".{variant}"
    files = f"no {stem}{infix}.safetensors and no {index_name(stem).removesuffix('.json')}{infix}.json in {folder}"
    there = sorted(path.name for path in folder.glob("*"))
    if found:
        ways = " or ".join("without a variant" if name is None else f"with variant={name!r}" for name in found)
        raise CheckpointError(f"{files}, which has {there[:8]}: read it {ways}")
    parts = [name for name in there if re.fullmatch(r".*-of-\d+.*\.bin", name)]
    if parts:
        raise CheckpointError(
            f"{folder / parts[0]} is one of several pickles, which can run code when they are read; convert them "
            f"first, with diffusers or transformers: from_pretrained({str(folder)!r}), then save_pretrained"
        )
    for name in there:
        refuse_pickle(folder / name)
    raise CheckpointError(f"{files}, which has {there[:8]}")


def is_name(text: str) -> bool:
    """True for the name of an entry of a folder, as opposed to a path out of it."""
    return text not in ("", ".", "..") and Path(text).name == text


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON object; CheckpointError if ``path`` is not such a file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"no file {path}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value
