"""Plain lines of progress where stderr is no terminal."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from artifex.command.app import main
from artifex.training import Report, Trainer
from artifex.training.cli import progress
from artifex.training.cli.progress import Bar

RUN = """
data: {kind: toy, size: 64}
backbone: {kind: mlp, hidden: 8, depth: 1}
steps: 7
batch_size: 8
log: {every: 3}
"""


@pytest.mark.slow
def test_a_line_every_so_many_steps_with_the_mean_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(RUN)
    assert main(["train", "run.yaml", "--out", "run"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in lines] == [["step", "3/7"], ["step", "6/7"]]
    losses = np.asarray(Trainer.from_folder("run").load().losses, np.float64)
    for i, line in enumerate(lines):
        match = re.fullmatch(r"step \d/7  loss (\d\.\d{4})  [\d,]+\.\d images/s  \d:\d\d:\d\d left", line)
        assert match is not None, line
        assert abs(float(match[1]) - losses[3 * i : 3 * i + 3].mean()) < 1e-4


def test_speed_and_time_left_are_of_the_last_window(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resumed run of 100 steps that has 40 behind it: 10 steps in 5 seconds, then 10 in 20."""
    clock = iter([0.0, 5.0, 25.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    lines = progress.Lines(10, 40, None)
    for step in range(41, 61):
        lines(Report(step, 100, 0.5))
    assert capsys.readouterr().err == (
        "step 50/100  loss 0.5000  2.00 steps/s  0:00:25 left\nstep 60/100  loss 0.5000  0.50 steps/s  0:01:20 left\n"
    )


@pytest.mark.parametrize(("terminal", "process", "expected"), [(False, 0, 1), (False, 1, 0), (True, 0, 0)])
def test_a_terminal_has_its_bar_and_only_the_first_process_writes(
    terminal: bool, process: int, expected: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(stderr=True, force_terminal=terminal))
    monkeypatch.setattr(progress, "jax", SimpleNamespace(process_index=lambda: process))
    with Bar(4, every=2) as bar:
        for step in (1, 2):
            bar(Report(step, 4, 0.25))
    printed = capsys.readouterr().err
    assert printed.count("step 2/4  loss 0.2500") == expected
    assert ("compiling" in printed or "training" in printed) is terminal
