"""The files of a checkpoint: Orbax's manager, items and handlers."""

import itertools
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np
import orbax.checkpoint as ocp

from artifex.training.checkpoints import manifest

TEMPORARY: Final = ".orbax-checkpoint-tmp"
"""Part of the name of a folder that Orbax has not finished."""


def make_manager(folder: Path, max_to_keep: int, keep_period: int | None) -> ocp.CheckpointManager:
    """Make the manager that writes and deletes checkpoints; this deletes partial ones."""
    policy = ocp.checkpoint_managers.preservation_policy
    kept = [policy.LatestN(max_to_keep), *([policy.EveryNSteps(keep_period)] if keep_period else [])]
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy.AnyPreservationPolicy(kept),
        enable_async_checkpointing=jax.process_count() > 1,
        cleanup_tmp_directories=True,
        create=True,
    )
    return ocp.CheckpointManager(folder, options=options, item_handlers=_handlers())


def read_items(folder: Path, **items: ocp.args.CheckpointArgs) -> ocp.args.Composite:
    """Read items of the checkpoint in ``folder``."""
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**_handlers())) as reader:
        return reader.restore(folder, args=ocp.args.Composite(**items))


def read_structure(folder: Path) -> dict[str, Any]:
    """Read names, shapes and dtypes of the state in ``folder``."""
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(**_handlers())) as reader:
        out: dict[str, Any] = reader.metadata(folder).item_metadata["state"].tree
    return out


def delete_partial(folder: Path) -> None:
    """Delete the partial checkpoint of a failed save."""
    if jax.process_index() == 0:
        for path in folder.glob(f"*{TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)


def _handlers() -> dict[str, ocp.CheckpointHandler]:
    """Return the handlers of the items; the manifest is the last to be written."""
    return {
        "state": ocp.StandardCheckpointHandler(),
        "metadata": ocp.JsonCheckpointHandler(),
        manifest.ITEM: manifest.ManifestHandler(),
    }


def shapes(flat: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Map names to shapes and dtypes of arrays, abstract arrays or stored metadata."""
    return {name: (tuple(leaf.shape), str(np.dtype(leaf.dtype))) for name, leaf in flat.items()}


def unused(path: Path) -> Path:
    """Return ``path`` or, if that exists, the first of path.1, path.2 ... that does not."""
    names = itertools.chain([path], (path.with_name(f"{path.name}.{n}") for n in itertools.count(1)))
    return next(name for name in names if not name.exists())


def reason(error: BaseException) -> str:
    """Return the operating system's message if there is one, else the error's first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])).lower() if code else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
