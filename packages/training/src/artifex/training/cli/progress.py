"""What is seen while training runs."""

from contextlib import AbstractContextManager
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

from artifex.training.loop import Report

ACCENT: Final = "dark_cyan"


class Speed(ProgressColumn):
    """Steps a second, or images.

    Args:
        unit: what is counted.
        each: how many of these a step.
    """

    def __init__(self, unit: str, each: int) -> None:
        super().__init__()
        self._unit, self._each = unit, each

    def render(self, task: Task) -> Text:
        """Nothing until it is known."""
        return Text(f"{task.speed * self._each:,.1f} {self._unit}/s" if task.speed else "", style="dim")


class Bar(AbstractContextManager["Bar"]):
    """Step, loss, speed and time left on stderr; silent where that is no terminal, or another process talks.

    Args:
        steps: how many there will be.
        done: how many a resumed run has behind it.
        images: how many a step, for the speed to count them; None counts steps.
    """

    def __init__(self, steps: int, done: int = 0, images: int | None = None) -> None:
        console = Console(stderr=True)
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

    def say(self, description: str) -> None:
        """Show what else is being done."""
        self._progress.update(self._task, description=description)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
