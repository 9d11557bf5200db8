"""Checkpoints by Orbax: whole or not there, written while training goes on.

Orbax writes into a folder of a temporary name and renames it when all is on disk, so whoever is killed while saving
leaves the checkpoint before as the last one. A state is stored flat, by the names of its leaves: what is on disk
depends on no class of this or another library, and on no layout over devices.
"""

import itertools
import json
import logging
import os
import re
import shutil
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
from artifex.training.checkpoints import manifest
from artifex.training.errors import CheckpointError as CheckpointError
from artifex.training.errors import MismatchError
from artifex.training.files import expanded
from artifex.training.named_leaves import named

S = TypeVar("S")
CORRUPT: Final = ".corrupt"
"""What the folder of a checkpoint that can't be trusted is renamed to end in."""
TEMPORARY: Final = ".orbax-checkpoint-tmp"
"""What Orbax has in the name of a folder until it is whole."""

# It tells of every step of every save.
logging.getLogger("absl").setLevel(logging.ERROR)


class Checkpointer:
    """Saves and restores pytrees by step, under one folder.

    One process writes from a thread of its own, off copies of the arrays; of several, each copies and writes its
    share. A context manager; without ``with``, call ``close``.

    Args:
        folder: where checkpoints lie, one folder a step; made at the first save. All processes must see it.
        keep: how many of the last are kept, at least 1.
        keep_period: steps that are multiples of it are kept for ever, at least 1; None keeps the last alone.
        say: is told, in one line, of a checkpoint that is passed over; None logs a warning.

    Raises:
        ValueError: if ``keep`` or ``keep_period`` is below 1.
    """

    def __init__(
        self, folder: Path, keep: int = 2, keep_period: int | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        check_whole("keep", keep, 1)
        if keep_period is not None:
            check_whole("keep_period", keep_period, 1)
        self.folder = expanded(folder).absolute()
        self._keep, self._keep_every = keep, keep_period
        self._say = logging.getLogger(__name__).warning if say is None else say
        self._flaws: dict[int, str | None] = {}
        self._said: set[int] = set()
        self._manager: ocp.CheckpointManager | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._saving: tuple[int, Future[None] | None] | None = None

    def latest(self) -> int | None:
        """The step of the last checkpoint that is whole, None where there is no checkpoint.

        Every file of it is read and compared with its seal, once. What is passed over for it is told, once.

        Raises:
            CheckpointError: if there are checkpoints, and none is whole.
        """
        self.wait()
        steps = self.steps()
        found = next((step for step in reversed(steps) if self._flaw(step) is None), None)
        if jax.process_count() > 1:
            agreed = int(multihost_utils.broadcast_one_to_all(np.asarray(-1 if found is None else found)))
            found = None if agreed < 0 else agreed
        if found is None and steps:
            raise CheckpointError(f"no checkpoint in {self.folder} can be used; the last {self._told(steps[-1])}")
        for step in steps:
            if found is not None and step > found and step not in self._said:
                self._said.add(step)
                self._say(f"going back to step {found}: the checkpoint in {self.folder} {self._told(step)}")
        return found

    def steps(self) -> list[int]:
        """The steps of all checkpoints, whole or not, in order."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())

    def save(self, step: int, state: object, notes: Mapping[str, object]) -> None:
        """Copy ``state`` and write it, with its ``notes``, while the caller goes on.

        When this returns the arrays may be given away or overwritten. It waits for the save before this one.

        Args:
            step: the name of the checkpoint, at least 0 and above that of every other.
            state: a pytree of arrays.
            notes: what JSON can hold: configuration, data position.

        Raises:
            CheckpointError: if the save before this one failed.
            ValueError: if ``step`` is not above that of every checkpoint, or ``notes`` can't be JSON.
        """
        self.wait()
        self._set_aside()
        last = max(self.steps(), default=-1)
        if step <= last:
            raise ValueError(f"step must be above {last}, that of the last checkpoint, got {step}")
        flat, told = named(state), json.loads(json.dumps(dict(notes), allow_nan=False))
        if jax.process_count() > 1:
            # Its shards are copied to the host by Orbax, which goes on in threads of its own.
            self._saving = (step, None)
            self._write(step, flat, told)
            return
        for leaf in flat.values():
            if isinstance(leaf, jax.Array):
                leaf.copy_to_host_async()
        copies = {name: np.array(leaf) for name, leaf in flat.items()}
        self._writer = self._writer or ThreadPoolExecutor(1, "checkpoint")
        self._saving = (step, self._writer.submit(self._write, step, copies, told))

    def wait(self) -> None:
        """Return when what was saved is on disk.

        Raises:
            CheckpointError: if it could not be written; then there is no trace of it, and the others are as they were.
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
            self._sweep()
            kept = f"; that of step {self.steps()[-1]} is the last" if self.steps() else ""
            raise CheckpointError(
                f"the checkpoint of step {step} could not be written to {self.folder}: {_reason(error)}{kept}"
            ) from error
        self._saving = None

    def notes(self, step: int | None = None) -> dict[str, Any]:
        """The notes of a checkpoint, of ``latest()`` where ``step`` is None.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            CheckpointError: if it is not whole.
        """
        out: dict[str, Any] = self._read(self._find(step), notes=ocp.args.JsonRestore())["notes"]
        return out

    def written_by(self, step: int | None = None) -> dict[str, str]:
        """The versions of Python and its packages that wrote a checkpoint, of ``latest()`` where ``step`` is None.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            CheckpointError: if it is not whole.
        """
        return manifest.read(self.folder / str(self._find(step))).versions

    def restore(self, like: S, step: int | None = None) -> S:
        """The state of a checkpoint, of ``latest()`` where ``step`` is None.

        Args:
            like: a state of the same structure, shapes and dtypes, of arrays or ``jax.ShapeDtypeStruct``; values don't
                matter. Each leaf comes in the sharding of its like, whichever it was saved in; on the first device
                where that has none.
            step: which one.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            CheckpointError: if it is not whole.
            MismatchError: a ValueError too, if what is stored differs from ``like`` in its names, shapes or dtypes.
        """
        step = self._find(step)
        wanted = named(like)
        have, want = _shapes(self._metadata(step)), _shapes(wanted)
        for name in sorted(have.keys() | want.keys()):
            if have.get(name) != want.get(name):
                said = f"{name} must be {want.get(name)} in the checkpoint of step {step}, got {have.get(name)}"
                raise MismatchError(f"{said}{self._other_version(step)}")
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = {
            name: jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
                leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or here
            )
            for name, leaf in wanted.items()
        }
        flat = self._read(step, state=ocp.args.StandardRestore(target))["state"]
        out: S = jax.tree.unflatten(jax.tree.structure(like), [flat[name] for name in wanted])
        return out

    def clear(self) -> None:
        """Delete every checkpoint of the folder and nothing else."""
        self.wait()
        for step in self.steps():
            self._open().delete(step)
        self._flaws.clear()

    def close(self) -> None:
        """Wait for what is being saved, and give back the threads.

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
            self._say(str(failed))

    def _write(self, step: int, flat: dict[str, Any], notes: dict[str, Any]) -> None:
        items = {
            "state": ocp.args.StandardSave(flat),
            "notes": ocp.args.JsonSave(notes),
            manifest.ITEM: manifest.Seal(),
        }
        self._open().save(step, args=ocp.args.Composite(**items), force=True)

    def _open(self) -> ocp.CheckpointManager:
        """What writes and deletes; opening it deletes what an earlier process left half-written."""
        if self._manager is None:
            policy = ocp.checkpoint_managers.preservation_policy
            kept = [policy.LatestN(self._keep), *([policy.EveryNSteps(self._keep_every)] if self._keep_every else [])]
            options = ocp.CheckpointManagerOptions(
                preservation_policy=policy.AnyPreservationPolicy(kept),
                enable_async_checkpointing=jax.process_count() > 1,
                cleanup_tmp_directories=True,
                create=True,
            )
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=_handlers())
        return self._manager

    def _forget(self) -> None:
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def _sweep(self) -> None:
        """Delete what a failed save left half-written."""
        if jax.process_index() == 0:
            for path in self.folder.glob(f"*{TEMPORARY}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _read(self, step: int, **items: ocp.args.CheckpointArgs) -> ocp.args.Composite:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**_handlers())) as reader:
            return reader.restore(self.folder / str(step), args=ocp.args.Composite(**items))

    def _metadata(self, step: int) -> dict[str, Any]:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**_handlers())) as reader:
            out: dict[str, Any] = reader.metadata(self.folder / str(step)).item_metadata["state"].tree
        return out

    def _find(self, step: int | None) -> int:
        """The step that is meant, if it can be used."""
        found = self.latest() if step is None else step
        if found is None or found not in self.steps():
            raise FileNotFoundError(f"{self.folder} must hold a checkpoint{'' if step is None else f' of step {step}'}")
        if self._flaw(found) is not None:
            raise CheckpointError(f"the checkpoint in {self.folder} {self._told(found)}")
        return found

    def _flaw(self, step: int) -> str | None:
        if step not in self._flaws:
            self._flaws[step] = manifest.flaw(self.folder / str(step))
        return self._flaws[step]

    def _told(self, step: int) -> str:
        return f"of step {step} can't be used: {self._flaw(step)}"

    def _set_aside(self) -> None:
        """Rename what was found not to be whole, so that its step can be saved again."""
        for step in [step for step, found in self._flaws.items() if found is not None]:
            del self._flaws[step]
            self._forget()
            path = self.folder / str(step)
            if jax.process_index() == 0 and path.is_dir():
                path.replace(_unused(path.with_name(path.name + CORRUPT)))
            multihost_utils.sync_global_devices(f"checkpoint {step} set aside")

    def _other_version(self, step: int) -> str:
        """Whose checkpoint it is, where it is another's."""
        name = "artifex-training"
        theirs, ours = self.written_by(step)[name], manifest.versions()[name]
        return "" if theirs == ours else f"; it was written by version {theirs} of {name}, this is {ours}"


def _handlers() -> dict[str, ocp.CheckpointHandler]:
    """What reads and writes each item; the seal is the last to be written."""
    return {
        "state": ocp.StandardCheckpointHandler(),
        "notes": ocp.JsonCheckpointHandler(),
        manifest.ITEM: manifest.SealHandler(),
    }


def _shapes(flat: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shapes and dtypes, whether of arrays, of their stand-ins or of what is stored."""
    return {name: (tuple(leaf.shape), str(np.dtype(leaf.dtype))) for name, leaf in flat.items()}


def _unused(path: Path) -> Path:
    """``path`` or, if that is taken, the first of path.1, path.2 ... that is not."""
    names = itertools.chain([path], (path.with_name(f"{path.name}.{n}") for n in itertools.count(1)))
    return next(name for name in names if not name.exists())


def _reason(error: BaseException) -> str:
    """What the system said, where it is to blame; else the error's own first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])).lower() if code else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
