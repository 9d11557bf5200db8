"""Conversions between networks and published checkpoints, and their reading and writing."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from safetensors.numpy import save_file

from artifex.backbones.base import Constant
from artifex.backbones.interop.checkpoint import DTYPES, STEM, Checkpoint, CheckpointError, index_name
from artifex.backbones.interop.config_fields import Fields, Json
from artifex.backbones.interop.extra_fields import EXTRA_FIELDS, extra_fields, with_extra_fields
from artifex.backbones.interop.key_mapping import Entry, KeyMapping, entries
from artifex.backbones.rngs import init_rngs

VERSION: Final = "0.42.0"  # of diffusers
SHARD_BYTES: Final = 5_000_000_000
SAVED: Final = (nnx.Param, Constant)
State = nnx.State[Any, Any]


@runtime_checkable
class Config(Protocol):
    """A backbone's config."""

    @property
    def dtype(self) -> DTypeLike: ...  # noqa: D102
    @property
    def param_dtype(self) -> DTypeLike: ...  # noqa: D102


C = TypeVar("C", bound=Config)
M = TypeVar("M", bound=nnx.Module)


@dataclass(frozen=True)
class Conversion(Generic[C, M]):
    """A class of networks in another library, and the class here that computes the same.

    Attributes:
        class_name: name of the class there, as in ``config.json``; the repository for checkpoints without a config.
        network: the class here.
        build: makes a network of a config.
        config: the config of a network.
        read: the config of the fields of ``config.json``.
        write: the fields of ``config.json`` of a config.
        key_mapping: the keys of the parameters.
        constants: arrays of the checkpoint that are not parameters here, with their required values.
        adapt_config: completes a config by what only the arrays of a checkpoint determine.
        aliases: other names of the class.
        stem: of the names of the files of weights.
        ignored: patterns of ``fnmatch`` for arrays of the checkpoint that are not part of the network.
        class_fields: the fields of ``config.json`` that name the class; by default, those of diffusers.
    """

    class_name: str
    network: type[M]
    build: Callable[[C, nnx.Rngs], M]
    config: Callable[[M], C]
    read: Callable[[Fields], C]
    write: Callable[[C], Json]
    key_mapping: Callable[[C], KeyMapping]
    constants: Callable[[C], Mapping[str, np.ndarray]] = lambda _: {}
    adapt_config: Callable[[C, Checkpoint], C] = lambda config, _: config
    aliases: tuple[str, ...] = ()
    stem: str = STEM
    ignored: tuple[str, ...] = ()
    class_fields: Mapping[str, object] | None = None

    def open(
        self,
        fields: Json,
        checkpoint: Checkpoint,
        *,
        dtype: DTypeLike | None,
        compute_dtype: DTypeLike | None,
        rename: Callable[[str], str],
    ) -> M:
        """Build the network of the fields of a config with the arrays of a checkpoint; see ``load``."""
        config = self.read(Fields(fields))
        if EXTRA_FIELDS in fields:
            config = with_extra_fields(config, fields[EXTRA_FIELDS], self.round_trip)
        return load(self, config, checkpoint, dtype=dtype, compute_dtype=compute_dtype, rename=rename)

    def round_trip(self, config: C) -> C:
        """The config after writing and reading it."""
        return self.read(Fields(self.write(config)))

    def save(self, model: M, folder: Path, shard_bytes: int) -> None:
        """Write a folder as the library of the class does."""
        config = self.config(model)
        fields = self.write(config)
        class_fields = self.class_fields or {"_class_name": self.class_name, "_diffusers_version": VERSION}
        extra = extra_fields(config, self.round_trip(config))
        write_folder(folder, {**class_fields, **extra, **fields}, arrays(self, model), shard_bytes, self.stem)


def parameters(state: State) -> dict[str, jax.Array]:
    """The parameters of a state by their dotted path."""
    return {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(state) if isinstance(leaf, SAVED)}


def load(
    conversion: Conversion[C, M],
    config: C,
    checkpoint: Checkpoint,
    *,
    dtype: DTypeLike | None,
    compute_dtype: DTypeLike | None,
    rename: Callable[[str], str] = lambda key: key,
) -> M:
    """Build a network with the arrays of a checkpoint.

    Names and shapes are checked before any array is read, except those that ``adapt_config`` needs.

    Args:
        conversion: the conversion.
        config: the config of the network; its dtypes are ignored.
        checkpoint: the arrays.
        dtype: dtype of the parameters; None is that of the checkpoint.
        compute_dtype: dtype of the computation; None is that of the parameters.
        rename: maps names in the checkpoint to those in the key mapping.

    Raises:
        CheckpointError: if arrays are missing, unknown, or of the wrong shape.
    """
    names: dict[str, str] = {}
    for key in checkpoint.shapes:
        other = names.setdefault(rename(key), key)
        if other != key and not np.array_equal(checkpoint.read(other), checkpoint.read(key)):
            raise CheckpointError(f"{other} and {key} are the same array here, expected the same values in both")
    param_dtype = DTYPES[checkpoint.dtype] if dtype is None else dtype
    config = dataclasses.replace(
        conversion.adapt_config(config, checkpoint),  # type: ignore[type-var]
        param_dtype=param_dtype,
        dtype=param_dtype if compute_dtype is None else compute_dtype,
    )
    graph, state = nnx.split(nnx.eval_shape(lambda: conversion.build(config, init_rngs(0))))
    flat = dict(nnx.to_flat_state(state))
    shapes = {".".join(map(str, path)): leaf.shape for path, leaf in flat.items() if isinstance(leaf, SAVED)}
    table = entries(shapes.items(), conversion.key_mapping(config))
    constants = conversion.constants(config)
    _check(table, constants, {key: checkpoint.shapes[names[key]] for key in names})
    for key, expected in constants.items():
        if key in names:
            _check_constant(key, checkpoint.read(names[key]), expected)
    by_path = {entry.path: entry for entry in table}

    def fill(path: tuple[object, ...], leaf: nnx.Variable[Any]) -> nnx.Variable[Any]:
        if not isinstance(leaf, SAVED):  # the random stream of dropout
            key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            return leaf.replace(jax.random.key(0) if key else jnp.zeros(leaf.shape, leaf.dtype))
        entry = by_path[".".join(map(str, path))]
        arrays = [checkpoint.read(names[part]) for part in entry.parts]
        if entry.name.copies and any(not np.array_equal(arrays[0], array) for array in arrays[1:]):
            raise CheckpointError(f"{entry.parts[0]} and its copies differ, expected the same values in all")
        array = entry.load(arrays)
        return leaf.replace(jnp.asarray(array if dtype is None else array.astype(jnp.dtype(dtype))))

    filled = nnx.from_flat_state({path: fill(path, leaf) for path, leaf in flat.items()})
    return nnx.merge(graph, filled)


def arrays(conversion: Conversion[C, M], model: M) -> dict[str, np.ndarray]:
    """The arrays of a network's parameters under the keys and in the layout of the checkpoint."""
    config = conversion.config(model)
    values = parameters(nnx.state(model))
    tensors = dict(conversion.constants(config))
    for entry in entries(((path, value.shape) for path, value in values.items()), conversion.key_mapping(config)):
        for part, array in zip(entry.parts, entry.save(np.asarray(values[entry.path])), strict=True):
            tensors[part] = np.ascontiguousarray(array)
    return tensors


def write_folder(
    folder: Path, config: Json, tensors: dict[str, np.ndarray], shard_bytes: int = SHARD_BYTES, stem: str = STEM
) -> None:
    """Write a folder: weights in one file or, above ``shard_bytes``, in several with an index.

    Files are written under temporary names and renamed once all weights are complete, ``config.json`` last, so that a
    failure leaves the previous files intact. Weights files of a previous save are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, np.ndarray]] = [{}]
    for key, array in tensors.items():
        if shards[-1] and sum(a.nbytes for a in shards[-1].values()) + array.nbytes > shard_bytes:
            shards.append({})
        shards[-1][key] = array
    count, index = len(shards), index_name(stem)
    files = [
        f"{stem}.safetensors" if count == 1 else f"{stem}-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)
    ]
    with moved_together([folder / file for file in files]) as partials:
        for partial, shard in zip(partials, shards, strict=True):
            save_file(shard, partial, metadata={"format": "pt"})
    if count > 1:
        places = {
            "metadata": {"total_size": sum(array.nbytes for array in tensors.values())},
            "weight_map": {key: file for file, shard in zip(files, shards, strict=True) for key in shard},
        }
        write_json(folder / index, places)
    for pattern in (f"{stem}.safetensors", f"{stem}-*-of-*.safetensors", *([index] if count == 1 else [])):
        for old in folder.glob(pattern):
            if old.name not in files:
                old.unlink()
    write_json(folder / "config.json", config)


def write_file(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write one safetensors file."""
    with moved_together([path]) as (partial,):
        save_file(tensors, partial, metadata={"format": "pt"})


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a JSON object."""
    with moved_together([path]) as (partial,):
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@contextmanager
def moved_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Temporary paths beside ``paths``; all are renamed at the end, or deleted after an error."""
    partials = [path.with_name(f".{path.name}.partial") for path in paths]
    try:
        yield partials
        for partial, path in zip(partials, paths, strict=True):
            partial.replace(path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def _check(table: list[Entry], constants: Mapping[str, np.ndarray], got: Mapping[str, tuple[int, ...]]) -> None:
    expected = {part: entry.theirs for entry in table for part in entry.parts}
    for problem, keys in (
        ("are missing", [key for key in expected if key not in got]),
        ("are not part of this network", [key for key in got if key not in expected and key not in constants]),
    ):
        if keys:
            more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
            raise CheckpointError(f"tensors {problem}: {', '.join(keys[:4])}{more}")
    for key, shape in expected.items():
        if got[key] != shape:
            raise CheckpointError(f"{key} must have shape {shape} for this config, got {got[key]}")


def _check_constant(key: str, got: np.ndarray, expected: np.ndarray) -> None:
    if got.shape != expected.shape:
        raise CheckpointError(f"{key} must have shape {expected.shape} for this config, got {got.shape}")
    if not np.allclose(got.astype(np.float32), expected, atol=1e-2 if got.dtype != np.float32 else 1e-5):
        raise CheckpointError(f"{key} must be the table that this network computes, got other values")
