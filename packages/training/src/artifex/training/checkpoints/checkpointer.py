"""Checkpoints by Orbax: atomic, and written while training continues.

Orbax writes into a folder of a temporary name and renames it when all is on disk, so a process killed while saving
leaves the previous checkpoint as the last one. A state is stored flat, by the names of its leaves: the files depend on
no class of this or another library, and on no sharding.
"""

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from artifex.kernels.ranges import check_whole
from artifex.training.checkpoints import manifest, storage
from artifex.training.errors import CheckpointError as CheckpointError
from artifex.training.errors import MismatchError
from artifex.training.files import expanded
from artifex.training.named_leaves import named

S = TypeVar("S")
CORRUPT: Final = ".corrupt"
"""Suffix of the folder of a corrupt checkpoint."""

# It logs every step of every save.
logging.getLogger("absl").setLevel(logging.ERROR)


class Checkpointer:
    """Saves and restores pytrees by step, under one folder.

    A single process writes copies of the arrays from a thread; of several processes each writes its own shards. A
    context manager; without ``with``, call ``close``.

    Args:
        folder: of the checkpoints, one subfolder a step; created at the first save. All processes must share it.
        max_to_keep: number of latest checkpoints to keep, at least 1.
        keep_period: also keep the checkpoints of steps that are multiples of it, at least 1; None keeps the latest
            only.
        warn: called with one line for a corrupt checkpoint that is skipped; None logs a warning.

    Raises:
        ValueError: if ``max_to_keep`` or ``keep_period`` is below 1.
    """

    def __init__(
        self,
        folder: Path,
        max_to_keep: int = 2,
        keep_period: int | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        check_whole("max_to_keep", max_to_keep, 1)
        if keep_period is not None:
            check_whole("keep_period", keep_period, 1)
        self.folder = expanded(folder).absolute()
        self._max_to_keep, self._keep_period = max_to_keep, keep_period
        self._warn = logging.getLogger(__name__).warning if warn is None else warn
        self._corruption: dict[int, str | None] = {}
        self._warned: set[int] = set()
        self._manager: ocp.CheckpointManager | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._saving: tuple[int, Future[None] | None] | None = None

    def latest(self) -> int | None:
        """Return the step of the last intact checkpoint, None if there is no checkpoint.

        Every file of it is verified against its manifest, once; each corrupt checkpoint that is skipped causes one
        warning.

        Raises:
            CheckpointError: if there are checkpoints, and none is intact.
        """
        self.wait()
        steps = self.steps()
        found = next((step for step in reversed(steps) if self._find_corruption(step) is None), None)
        if jax.process_count() > 1:
            first = int(multihost_utils.broadcast_one_to_all(np.asarray(-1 if found is None else found)))
            found = None if first < 0 else first
        if found is None and steps:
            raise CheckpointError(f"no checkpoint in {self.folder} can be used; the last {self._problem(steps[-1])}")
        for step in steps:
            if found is not None and step > found and step not in self._warned:
                self._warned.add(step)
                self._warn(f"going back to step {found}: the checkpoint in {self.folder} {self._problem(step)}")
        return found

    def steps(self) -> list[int]:
        """List the steps of all checkpoints, intact or not, in order."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())

    def save(self, step: int, state: object, metadata: Mapping[str, object]) -> None:
        """Copy ``state`` and write it in the background, with ``metadata``.

        When this returns the arrays may be donated or overwritten. It waits for the previous save.

        Args:
            step: the name of the checkpoint, at least 0 and above that of every other.
            state: a pytree of arrays.
            metadata: JSON values: configuration, data position.

        Raises:
            CheckpointError: if the previous save failed.
            ValueError: if ``step`` is not above that of every checkpoint, or ``metadata`` can't be JSON.
        """
        self.wait()
        self._set_aside()
        last = max(self.steps(), default=-1)
        if step <= last:
            raise ValueError(f"step must be above {last}, that of the last checkpoint, got {step}")
        flat, metadata = named(state), json.loads(json.dumps(dict(metadata), allow_nan=False))
        if jax.process_count() > 1:
            # Orbax copies the shards to the host, and writes them in threads of its own.
            self._saving = (step, None)
            self._write(step, flat, dict(metadata))
            return
        for leaf in flat.values():
            if isinstance(leaf, jax.Array):
                leaf.copy_to_host_async()
        copies = {name: np.array(leaf) for name, leaf in flat.items()}
        self._writer = self._writer or ThreadPoolExecutor(1, "checkpoint")
        self._saving = (step, self._writer.submit(self._write, step, copies, dict(metadata)))

    def wait(self) -> None:
        """Wait until the last save is on disk.

        Raises:
            CheckpointError: if it could not be written; then nothing of it is left, and the others are unchanged.
        """
        if self._saving is None:
            return
        step, job = self._saving
        try:
            if job is not None:
                job.result()
            elif self._manager is not None:
                self._manager.wait_until_finished()
        except Exception as error:
            self._saving = None
            if job is None and isinstance(error, jax.errors.JaxRuntimeError):
                raise  # another process is lost, and the run with it
            self._forget()
            storage.delete_partial(self.folder)
            kept = f"; that of step {self.steps()[-1]} is the last" if self.steps() else ""
            raise CheckpointError(
                f"the checkpoint of step {step} could not be written to {self.folder}: {storage.reason(error)}{kept}"
            ) from error
        self._saving = None

    def metadata(self, step: int | None = None) -> dict[str, Any]:
        """Return the metadata of a checkpoint, of ``latest()`` if ``step`` is None.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            CheckpointError: if it is corrupt.
        """
        out: dict[str, Any] = storage.read_items(self.folder / str(self._find(step)), metadata=ocp.args.JsonRestore())[
            "metadata"
        ]
        return out

    def written_by(self, step: int | None = None) -> dict[str, str]:
        """Return the versions of Python and its packages that wrote a checkpoint, of ``latest()`` if ``step`` is None.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            CheckpointError: if it is corrupt.
        """
        return manifest.read(self.folder / str(self._find(step))).versions

    def restore(self, target: S, step: int | None = None) -> S:
        """Restore the state of a checkpoint, of ``latest()`` if ``step`` is None.

        Args:
            target: a state of the same structure, shapes and dtypes, of arrays or ``jax.ShapeDtypeStruct``; values
                don't matter. Each leaf is restored to the sharding of its counterpart, whichever it was saved in; to
                the first device if that has none.
            step: of the checkpoint.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            CheckpointError: if it is corrupt.
            MismatchError: also a ValueError, if names, shapes or dtypes differ from those of ``target``.
        """
        step = self._find(step)
        wanted = named(target)
        have, want = storage.shapes(storage.read_structure(self.folder / str(step))), storage.shapes(wanted)
        for name in sorted(have.keys() | want.keys()):
            if have.get(name) != want.get(name):
                message = f"{name} must be {want.get(name)} in the checkpoint of step {step}, got {have.get(name)}"
                raise MismatchError(f"{message}{self._other_version(step)}")
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        abstract = {
            name: jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
                leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or here
            )
            for name, leaf in wanted.items()
        }
        flat = storage.read_items(self.folder / str(step), state=ocp.args.StandardRestore(abstract))["state"]
        out: S = jax.tree.unflatten(jax.tree.structure(target), [flat[name] for name in wanted])
        return out

    def clear(self) -> None:
        """Delete every checkpoint of the folder, and nothing else."""
        self.wait()
        for step in self.steps():
            self._open().delete(step)
        self._corruption.clear()

    def close(self) -> None:
        """Wait for the last save and release the threads.

        Raises:
            CheckpointError: if it could not be written.
        """
        try:
            self.wait()
        finally:
            self._forget()
            if self._writer is not None:
                self._writer.shutdown()
                self._writer = None

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except CheckpointError as failed:
            if error is None:
                raise
            self._warn(str(failed))

    def _write(self, step: int, flat: dict[str, Any], metadata: dict[str, Any]) -> None:
        items = {
            "state": ocp.args.StandardSave(flat),
            "metadata": ocp.args.JsonSave(metadata),
            manifest.ITEM: manifest.ManifestArgs(),
        }
        self._open().save(step, args=ocp.args.Composite(**items), force=True)

    def _open(self) -> ocp.CheckpointManager:
        """Return Orbax's manager; opening it deletes partial checkpoints of an earlier process."""
        if self._manager is None:
            self._manager = storage.make_manager(self.folder, self._max_to_keep, self._keep_period)
        return self._manager

    def _forget(self) -> None:
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def _find(self, step: int | None) -> int:
        """Return the step of a checkpoint after verifying it."""
        found = self.latest() if step is None else step
        if found is None or found not in self.steps():
            raise FileNotFoundError(f"{self.folder} must hold a checkpoint{'' if step is None else f' of step {step}'}")
        if self._find_corruption(found) is not None:
            raise CheckpointError(f"the checkpoint in {self.folder} {self._problem(found)}")
        return found

    def _find_corruption(self, step: int) -> str | None:
        if step not in self._corruption:
            self._corruption[step] = manifest.find_corruption(self.folder / str(step))
        return self._corruption[step]

    def _problem(self, step: int) -> str:
        return f"of step {step} can't be used: {self._find_corruption(step)}"

    def _set_aside(self) -> None:
        """Rename corrupt checkpoints, so that their steps can be saved again."""
        for step in [step for step, found in self._corruption.items() if found is not None]:
            del self._corruption[step]
            self._forget()
            path = self.folder / str(step)
            if jax.process_index() == 0 and path.is_dir():
                path.replace(storage.unused(path.with_name(path.name + CORRUPT)))
            multihost_utils.sync_global_devices(f"checkpoint {step} set aside")

    def _other_version(self, step: int) -> str:
        """Describe the version that wrote a checkpoint, if it is not this one."""
        name = "artifex-training"
        theirs, ours = self.written_by(step)[name], manifest.versions()[name]
        return "" if theirs == ours else f"; it was written by version {theirs} of {name}, this is {ours}"
