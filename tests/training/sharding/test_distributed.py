"""Two processes, together to the end and with one of them killed; and errors of processes that don't fit."""

import json
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
from PIL import Image

from artifex.command.app import main
from artifex.training import RunConfig, Trainer
from artifex.training.run.folder import RunFolder
from artifex.training.sharding.distributed import LOST, exit_together, on_host, start

ROOT = Path(__file__).parents[3]
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
# The same run twice: once uninterrupted, then by the command, whose second process dies before step 31.
ONE_OF_TWO = """
import itertools, os, signal, sys
import jax
from artifex.training import Trainer
from artifex.training.run import loop
from artifex.command.app import main

original, calls, fit = loop.global_batch, itertools.count(), Trainer.fit

def deadly(*args):
    if next(calls) == 30 and jax.process_index() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args)

def both(trainer, **options):
    fit(Trainer(trainer.config, "whole"))
    loop.global_batch = deadly
    return fit(trainer, **options)

Trainer.fit = both
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_and_go_on_when_one_has_died(tmp_path: Path) -> None:
    """The first has its address as an option, the second finds it as in a job of Slurm."""
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
               "--coordinator"]  # fmt: skip
    slurm = {
        "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": "2", "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0", "JAX_COORDINATOR_PORT": str(port),
    }  # fmt: skip
    reported = [f"127.0.0.1:{port}", "--processes", "2", "--process", "0"]
    first, second = (
        subprocess.Popen(
            [*command, *more], cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT), **own},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for more, own in ((reported, {}), (["auto"], slurm))
    )  # fmt: skip
    try:
        output = second.communicate(timeout=300)
        assert second.returncode == -signal.SIGKILL, output
        died = time.monotonic()
        printed = first.communicate(timeout=TIMEOUT + 10)[1]
        assert time.monotonic() - died < TIMEOUT + 5
    finally:
        first.kill()
        second.kill()
    assert first.returncode == LOST, printed
    assert "artifex: process 0 of 2 lost another one: " in printed
    assert RunFolder(tmp_path / "two").latest_step() == 20

    one = Trainer(RunConfig.model_validate(Trainer.from_folder(tmp_path / "two").config.model_dump())).fit()
    whole, two = Trainer.from_folder(tmp_path / "whole").load(), Trainer.from_folder(tmp_path / "two").fit(resume=True)
    for run in (whole, two):
        assert run.finished
        np.testing.assert_allclose(run.losses, one.losses, rtol=1e-5)
        for a, b in zip(jax.tree.leaves(run.state.parameters), jax.tree.leaves(one.state.parameters), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    steps = [line.partition(",")[0] for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [f'{{"step": {step}' for step in range(5, 51, 5)]
    pictures = [sorted((tmp_path / run / "previews").iterdir()) for run in ("two", "whole")]
    assert [[path.name for path in paths] for paths in pictures] == [["00000020.png", "00000040.png"]] * 2
    # A preview drawn by one process, by two together, and of another step: points, of which some are on a pixel's edge.
    by_one, by_two, other = (
        np.asarray(Image.open(path), np.float64) for path in (pictures[0][1], pictures[1][1], pictures[0][0])
    )
    assert abs(by_one - by_two).mean() < 0.01 < 0.1 < abs(by_one - other).mean()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", 2, 0, 60), "coordinator must be HOST:PORT or 'auto', got 'nowhere'"),
        (("a:1", None, 0, 60), "processes and process must be given with a:1, got None and 0"),
        (("auto", 2, None, 60), "coordinator 'auto' finds processes and process itself, got 2 and None"),
        (("a:1", 2, 2, 60), r"process must be in \[0, processes - 1\] = \[0, 1\], got 2"),
        (("a:1", 2, -1, 60), "got -1"),
        (("a:1", 2, 0, 0), "timeout must be at least 1 second, got 0"),
    ],
)
def test_processes_that_can_not_be_are_refused(arguments: tuple[str, int | None, int | None, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        start(*arguments)


def test_the_command_takes_all_of_a_process_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for given, got in (
        (["a:1", "--processes", "2"], "a:1, 2 and none"),
        (["auto", "--process", "1"], "auto, none and 1"),
    ):
        assert main(["train", "c.yaml", "--coordinator", *given]) == 2
        says = "--coordinator HOST:PORT, --processes and --process go together, --coordinator auto by itself; got"
        assert f"{says} {got}" in capsys.readouterr().err


@pytest.mark.slow
def test_processes_find_each_other_in_every_cluster_or_say_in_one_line_why_not() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.helpers.clusters"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    child = subprocess.run(command, cwd=ROOT, env=environment, timeout=300, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    for cluster in ("slurm", "open mpi", "cloud tpu", "tpu slices", "kubernetes"):
        where = "run-0.pods" if cluster == "kubernetes" else "127.0.0.1"
        assert found.pop(cluster) == [[0, 2, where], [1, 2, where]], cluster
    says = {
        "no cluster": "(ValueError: coordinator_address should be defined.)",
        # JAX before 0.12 does not support it; later versions need a package.
        "open mpi 5": "mpi4py" if "mpi4py" in found["open mpi 5"][0][0] else "coordinator_address should be defined.",
        "open mpi, no rank": "(KeyError: 'OMPI_COMM_WORLD_RANK')",
        "open mpi, rank 2 of 2": "process_id=2, num_processes=2.)",
        "cloud tpu, no server": "Connection refused",
        "kubernetes, no package": "(ValueError: coordinator_address should be defined.)",
        "kubernetes, no service": "(RuntimeError: Pods within a job need a headless service",
        "kubernetes, not indexed": 'completionMode: "Indexed"',
    }
    assert set(found) == set(says)
    for case, ((reported,),) in found.items():
        assert reported.startswith("coordinator 'auto' needs Slurm, Open MPI, a Cloud TPU or Kubernetes to describe ")
        assert reported.endswith("; give HOST:PORT")
        assert says[case] in reported
        assert "\n" not in reported, case


def test_alone_an_error_is_an_error_and_an_array_is_whole() -> None:
    with pytest.raises(jax.errors.JaxRuntimeError), exit_together():
        raise jax.errors.JaxRuntimeError("out of memory")
    assert isinstance(on_host({"a": jax.numpy.ones(2)})["a"], np.ndarray)
