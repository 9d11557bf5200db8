"""Checkpoints by Orbax: whole or not there.

Orbax writes into a folder of a temporary name and renames it when all is on disk, so whoever is killed while saving
leaves the checkpoint before as the last one. A state is stored flat, by the names of its leaves: what is on disk
depends on no class of this or another library.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

S = TypeVar("S")

# It tells of every step of every save.
logging.getLogger("absl").setLevel(logging.ERROR)


class Checkpointer:
    """Saves and restores pytrees by step, under one folder.

    A context manager; without ``with``, call ``close``.

    Args:
        folder: where checkpoints lie, one folder a step; made at the first save.
        keep: how many of the last are kept, at least 1.

    Raises:
        ValueError: if ``keep`` is below 1.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.folder = folder.absolute()
        self._keep = keep
        self._manager: ocp.CheckpointManager | None = None

    def latest(self) -> int | None:
        """The step of the last whole checkpoint, None where there is none."""
        if not self.folder.is_dir():
            return None
        step: int | None = self._open().latest_step()
        return step

    def save(self, step: int, state: object, notes: Mapping[str, object]) -> None:
        """Save ``state`` and its ``notes``; when this returns they are on disk.

        Args:
            step: the name of the checkpoint, above ``latest()``.
            state: a pytree of arrays.
            notes: what JSON can hold: configuration, versions.
        """
        args = ocp.args.Composite(state=ocp.args.StandardSave(_flat(state)), notes=ocp.args.JsonSave(dict(notes)))
        self._open().save(step, args=args, force=True)

    def notes(self, step: int | None = None) -> dict[str, Any]:
        """The notes of a checkpoint, of the last where ``step`` is None.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
        """
        step = self._find(step)
        out: dict[str, Any] = self._open().restore(step, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))["notes"]
        return out

    def restore(self, like: S, step: int | None = None) -> S:
        """The state of a checkpoint, of the last where ``step`` is None.

        Args:
            like: a state of the same structure, shapes and dtypes; its values don't matter, its devices do.
            step: which one.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            ValueError: if what is stored differs from ``like`` in its names, shapes or dtypes.
        """
        step = self._find(step)
        wanted = {name: jax.typeof(leaf) for name, leaf in _flat(like).items()}
        stored = self._open().item_metadata(step)["state"].tree
        for name in sorted(stored.keys() | wanted.keys()):
            have = (tuple(stored[name].shape), str(stored[name].dtype)) if name in stored else None
            want = (wanted[name].shape, str(wanted[name].dtype)) if name in wanted else None
            if have != want:
                raise ValueError(f"{name} must be {want} in the checkpoint of step {step}, got {have}")
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _flat(like))
        flat = self._open().restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))["state"]
        out: S = jax.tree.unflatten(jax.tree.structure(like), [flat[name] for name in wanted])
        return out

    def clear(self) -> None:
        """Delete every checkpoint of the folder and nothing else."""
        if self.folder.is_dir():
            for step in self._open().all_steps():
                self._open().delete(step)

    def close(self) -> None:
        """Give back the threads."""
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self._keep, enable_async_checkpointing=False, cleanup_tmp_directories=True, create=True
            )
            handlers = {"state": ocp.StandardCheckpointHandler(), "notes": ocp.JsonCheckpointHandler()}
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)
        return self._manager

    def _find(self, step: int | None) -> int:
        found = self.latest() if step is None else step
        if found is None or not self.folder.is_dir() or found not in self._open().all_steps():
            raise FileNotFoundError(f"{self.folder} must hold a checkpoint{'' if step is None else f' of step {step}'}")
        return found


def _flat(state: object) -> dict[str, Any]:
    """Leaves by the names of their places."""
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
