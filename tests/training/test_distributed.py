"""Two processes, together to the end and with one of them killed; and what is said where processes don't fit."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from artifex.training import RunConfig, Trainer
from artifex.training.cli import main
from artifex.training.distributed import LOST, leaving_together, on_host, start
from artifex.training.trainer import latest

ROOT = Path(__file__).parents[2]
TIMEOUT = 20
CONFIG = """
data: {kind: toy, name: moons}
backbone: {kind: mlp, hidden: 64, depth: 1}
steps: 50
batch_size: 16
mesh: {data: 1, fsdp: -1}
checkpoint: {every: 20}
log: {every: 5}
preview: {every: 20, steps: 2}
"""
# The same run twice: once left alone, then told to the command, of which the second process dies before step 31.
ONE_OF_TWO = """
import itertools, os, signal, sys
from artifex.training import Trainer, loop
from artifex.training.cli import main

original, calls, fit = loop.global_batch, itertools.count(), Trainer.fit

def deadly(*args):
    if next(calls) == 30 and sys.argv[-2:] == ["--process", "1"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args)

def both(trainer, **options):
    fit(Trainer(trainer.config, "whole"))
    loop.global_batch = deadly
    return fit(trainer, **options)

Trainer.fit = both
sys.exit(main(sys.argv[1:]))
"""


def test_two_processes_have_the_losses_of_one_and_go_on_when_one_has_died(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_backend_optimization_level=0",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05",
    }  # fmt: skip
    command = [sys.executable, "-c", ONE_OF_TWO, "train", "config.yaml", "--out", "two", "--timeout", str(TIMEOUT),
               "--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process"]  # fmt: skip
    first, second = (
        subprocess.Popen(
            [*command, str(i)], cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(2)
    )  # fmt: skip
    try:
        told = second.communicate(timeout=300)
        assert second.returncode == -signal.SIGKILL, told
        died = time.monotonic()
        said = first.communicate(timeout=TIMEOUT + 10)[1]
        assert time.monotonic() - died < TIMEOUT + 5
    finally:
        first.kill()
        second.kill()
    assert first.returncode == LOST, said
    assert "artifex: process 0 of 2 lost another one: " in said
    assert latest(tmp_path / "two") == 20

    one = Trainer(RunConfig.model_validate(Trainer.of(tmp_path / "two").config.model_dump())).fit()
    whole, two = Trainer.of(tmp_path / "whole").load(), Trainer.of(tmp_path / "two").fit(resume=True)
    for run in (whole, two):
        assert run.finished
        np.testing.assert_allclose(run.losses, one.losses, rtol=1e-5)
        for a, b in zip(jax.tree.leaves(run.state.parameters), jax.tree.leaves(one.state.parameters), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    steps = [line.partition(",")[0] for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [f'{{"step": {step}' for step in range(5, 51, 5)]
    assert sorted(path.name for path in (tmp_path / "two" / "previews").iterdir()) == ["00000020.png", "00000040.png"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", 2, 0, 60), "coordinator must be HOST:PORT, got 'nowhere'"),
        (("a:1", 2, 2, 60), r"process must be in \[0, processes - 1\] = \[0, 1\], got 2"),
        (("a:1", 2, -1, 60), "got -1"),
        (("a:1", 2, 0, 0), "timeout must be at least 1 second, got 0"),
    ],
)
def test_processes_that_can_not_be_are_refused(arguments: tuple[str, int, int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        start(*arguments)


def test_the_command_takes_all_of_a_process_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "c.yaml", "--coordinator", "a:1", "--processes", "2"]) == 2
    assert "--coordinator, --processes and --process go together, got a:1, 2 and none" in capsys.readouterr().err


def test_alone_an_error_is_an_error_and_an_array_is_whole() -> None:
    with pytest.raises(jax.errors.JaxRuntimeError), leaving_together():
        raise jax.errors.JaxRuntimeError("out of memory")
    assert isinstance(on_host({"a": jax.numpy.ones(2)})["a"], np.ndarray)
