"""The metrics of a run in metrics.jsonl, and optionally as TensorBoard's events."""

import json
import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from artifex.training.files import replacing
from artifex.training.run.report import Report
from artifex.training.step.loss_by_level import CENTERS, level_means, mean_loss


class MetricsLog:
    """Writes a line of JSON for every window of steps; a callback of ``train``.

    A line has ``step``, the mean ``loss`` of the window, ``loss_by_logsnr`` (pairs of a log-SNR and its mean loss), of
    the last step ``gradient_norm`` and ``learning_rate``, ``skipped`` steps so far, ``images_per_second`` and
    ``seconds`` since this process started training. Values that are not finite are null.

    A context manager; without ``with``, call ``close``.

    Args:
        path: of the file; its lines after step ``done`` are deleted, so that no step is logged twice.
        every: steps of a window.
        done: number of completed steps of a resumed run.
        batch_size: images a step.
        learning_rate: as a function of the number of previous updates.
        board: folder for TensorBoard's events; None writes none.

    Raises:
        ValueError: if ``board`` is given and tensorboardX is not installed; see ``check_tensorboard``.
    """

    def __init__(
        self,
        path: Path,
        every: int,
        *,
        done: int,
        batch_size: int,
        learning_rate: Callable[[int], Any],
        board: Path | None = None,
    ) -> None:
        self._every, self._batch, self._rate = every, batch_size, learning_rate
        self._start = self._last = time.perf_counter()
        self._logged = done
        keep_until(path, done)
        self._file = path.open("a", encoding="utf-8")
        self._board = None if board is None else _board(board, done)

    def __call__(self, report: Report) -> None:
        """Log a step if it is the last of its window."""
        if report.step % self._every and report.step != report.steps:
            return
        now = time.perf_counter()
        speed = (report.step - self._logged) * self._batch / (now - self._last)
        self._last, self._logged = now, report.step
        means = [] if report.levels is None else level_means(report.levels)
        mean = report.loss if report.levels is None else mean_loss(report.levels)
        scalars = {
            "loss": _finite(mean),
            "gradient_norm": _finite(report.gradient_norm),
            "learning_rate": _finite(float(self._rate(max(0, report.step - report.skipped - 1)))),
            "skipped": report.skipped,
            "images_per_second": round(speed, 2),
        }
        curve = [[center, _finite(m)] for center, m in zip(CENTERS, means, strict=False) if m is not None]
        line = {"step": report.step, **scalars, "seconds": round(now - self._start, 3), "loss_by_logsnr": curve}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in scalars.items():
                if value is not None:
                    self._board.add_scalar(name, value, report.step)

    def show(self, step: int, path: Path) -> None:
        """Write a picture to TensorBoard's events."""
        if self._board is not None:
            with Image.open(path) as picture:
                self._board.add_image("samples", np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def keep_until(path: Path, step: int) -> None:
    """Delete the lines of steps after ``step`` from a file, and a truncated one; 0 deletes all."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        kept = [line for line in lines if _step(line) <= step]
    with replacing(path) as file:
        file.writelines(kept)


def check_tensorboard() -> None:
    """Raise a ValueError unless tensorboardX is installed."""
    if find_spec("tensorboardX") is None:
        raise ValueError("log.tensorboard needs tensorboardX: pip install 'artifex-training[tensorboard]'")


def _board(folder: Path, done: int) -> Any:  # noqa: ANN401 -- a library without types
    check_tensorboard()
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done + 1)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _step(line: bytes) -> float:
    """Return the step of a line; infinity for a truncated one."""
    if not line.endswith(b"\n"):
        return math.inf
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
