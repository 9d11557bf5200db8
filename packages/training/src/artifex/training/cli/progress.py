"""Progress of training on the terminal."""

import math
import sys
import time
from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType
from typing import Final

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from artifex.training.run.report import Report
from artifex.training.step.loss_by_level import mean_loss

ACCENT: Final = "dark_cyan"


class Speed(ProgressColumn):
    """Steps or images per second.

    Args:
        unit: name of the unit.
        each: number of units a step.
    """

    def __init__(self, unit: str, each: int) -> None:
        super().__init__()
        self._unit, self._each = unit, each

    def render(self, task: Task) -> Text:
        """Return the speed, empty until it is known."""
        return Text(f"{task.speed * self._each:,.1f} {self._unit}/s" if task.speed else "", style="dim")


class Lines:
    """Plain lines on stderr at intervals, for a log: the mean loss since the last one, speed and remaining time.

    Args:
        every: steps between lines.
        done: number of completed steps of a resumed run.
        images: number of images a step, to count images per second; None counts steps.
    """

    def __init__(self, every: int, done: int, images: int | None) -> None:
        self._every, self._step, self._images = every, done, images
        self._time = time.perf_counter()

    def __call__(self, report: Report) -> None:
        """Write a line if it is due."""
        if report.step % self._every:
            return
        now = time.perf_counter()
        speed = (report.step - self._step) / max(now - self._time, 1e-9)
        self._time, self._step = now, report.step
        loss = report.loss if report.levels is None else mean_loss(report.levels)
        rate = f"{speed:,.2f} steps/s" if self._images is None else f"{speed * self._images:,.1f} images/s"
        left = timedelta(seconds=round((report.steps - report.step) / speed))
        print(
            f"step {report.step}/{report.steps}  loss {math.nan if loss is None else loss:.4f}  {rate}  {left} left",
            file=sys.stderr,
            flush=True,
        )


class Bar(AbstractContextManager["Bar"]):
    """Step, loss, speed and remaining time on stderr, by the first process of a run.

    On a terminal this is a progress bar, else a plain line at intervals.

    Args:
        steps: total number of steps.
        done: number of completed steps of a resumed run.
        images: number of images a step, to count images per second; None counts steps.
        every: steps between plain lines; None writes none.
    """

    def __init__(self, steps: int, done: int = 0, images: int | None = None, every: int | None = None) -> None:
        console = Console(stderr=True)
        plain = every is not None and not console.is_terminal and jax.process_index() == 0
        self._lines = Lines(every, done, images) if plain and every is not None else None
        self._progress = Progress(
            SpinnerColumn(style=ACCENT),
            TextColumn("{task.description}"),
            BarColumn(complete_style=ACCENT, finished_style=ACCENT),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            Speed("steps", 1) if images is None else Speed("images", images),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal or jax.process_index() > 0,
            transient=True,
        )
        self._task = self._progress.add_task("compiling", total=steps, completed=done, loss="")

    def __call__(self, report: Report) -> None:
        """Show a step."""
        self._progress.update(
            self._task, completed=report.step, description="training ", loss=f"loss {report.loss:.4f}"
        )
        if self._lines is not None:
            self._lines(report)

    def describe(self, description: str) -> None:
        """Show another activity."""
        self._progress.update(self._task, description=description)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
