"""The folder of a run: where its configuration, checkpoints, metrics, previews and snapshots are."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.files import expanded

_CONFIG: Final = "config.yaml"
_CHECKPOINT: Final = "checkpoint"
_METRICS: Final = "metrics.jsonl"
_TENSORBOARD: Final = "tensorboard"
_PREVIEWS: Final = "previews"
_SNAPSHOTS: Final = "snapshots"


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run's files.

    Attributes:
        path: of the folder.
    """

    FILES = (_CONFIG, _METRICS)
    """Names of the files in it."""
    FOLDERS = (_CHECKPOINT, _PREVIEWS, _SNAPSHOTS, _TENSORBOARD)
    """Names of the folders in it."""

    path: Path

    @classmethod
    def at(cls, path: Path | str) -> "RunFolder":
        """Return the folder at a path, which may begin with ``~``."""
        return cls(expanded(path))

    @classmethod
    def containing(cls, path: Path) -> "RunFolder":
        """Return the folder at a path, or the one that contains it if it is that of the checkpoints."""
        return cls(path.parent if path.name == _CHECKPOINT and path.is_dir() else path)

    @property
    def config(self) -> Path:
        """The file of the configuration."""
        return self.path / _CONFIG

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / _CHECKPOINT

    @property
    def metrics(self) -> Path:
        """The file of the metrics."""
        return self.path / _METRICS

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events."""
        return self.path / _TENSORBOARD

    @property
    def previews(self) -> Path:
        """The folder of the previews."""
        return self.path / _PREVIEWS

    @property
    def snapshots(self) -> Path:
        """The folder of the stored averages."""
        return self.path / _SNAPSHOTS

    @property
    def exists(self) -> bool:
        """True if there is a run: checkpoints, usable or not."""
        return self.checkpoint.is_dir()

    def previous_config(self, step: int) -> Path:
        """The file of the configuration that was replaced after ``step`` steps."""
        return self.config.with_name(f"{self.config.stem}.{step:08d}{self.config.suffix}")

    def latest_step(self) -> int | None:
        """Return the step of the last usable checkpoint, None if there is no checkpoint.

        Raises:
            CheckpointError: if there are checkpoints, and none is usable.
        """
        with Checkpointer(self.checkpoint, warn=lambda _: None) as checkpointer:
            return checkpointer.latest()

    def check_writable(self) -> None:
        """Check that nothing is in the way of the run's files.

        Raises:
            NotADirectoryError: if there is a file in place of a folder.
            IsADirectoryError: if there is a folder in place of a file.
            PermissionError: if a folder of an earlier part of the run is not writable.
        """
        if self.metrics.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.metrics))
        for folder in (self.previews, self.snapshots, self.tensorboard):
            if folder.exists() and not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
            if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
