"""A run that is killed again and again ends in the bits of one that is left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from artifex.training import Checkpointer
from artifex.training.checkpoints.storage import TEMPORARY
from artifex.training.run.folder import RunFolder
from tests.training.helpers.tiny import same

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
STEPS = 48
CONFIG = {
    "data": {"kind": "toy", "name": "moons", "size": 50},
    "backbone": {"kind": "mlp", "hidden": 8, "depth": 1, "dropout": 0.1},
    "schedule": {"kind": "discrete", "steps": 50},
    "ema": {"kind": "power", "snapshot_every": 7},
    "steps": STEPS,
    "batch_size": 8,
    "checkpoint": {"every": 1, "max_to_keep": 1},
}


class Server:
    """See ``forks``."""

    def __init__(self, folder: Path) -> None:
        self.errors = folder / "stderr"
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_backend_optimization_level=0",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.training.helpers.forks"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def start(self, *arguments: str) -> int:
        """Its process number."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"arguments": arguments, "errors": str(self.errors)}) + "\n")
        return int(self.until("pid"))

    def until(self, *events: str) -> str:
        """The value of the first of these events, or "" if the run ended without one of them."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event, value = line.split()
            if event in events:
                return value
            if event == "ended":
                return ""
        raise AssertionError(f"the server is gone; {self.errors.read_text()}")

    def end(self) -> int:
        """The exit code of a run that is about to end."""
        return int(self.until("ended"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    with server.process:  # leaving it closes its stdin, which ends it
        yield server
    assert server.process.returncode == 0


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


class Whole(NamedTuple):
    """A run to which nothing happens: its folder, the digest of its last state, and the seconds a checkpoint takes."""

    out: Path
    digest: str
    saving: float


@pytest.fixture(scope="module")
def whole(server: Server, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp("whole") / "run"
    server.start("train", str(config), "--out", str(out), "--set", "checkpoint.every=8")
    for _ in range(5):
        assert server.until("saving"), server.errors.read_text()
        began = time.perf_counter()
        server.until("saved")
        saving = time.perf_counter() - began
    digest = server.until("digest")
    assert server.end() == 0, server.errors.read_text()
    return Whole(out, digest, saving)


def test_twenty_kills_change_nothing(server: Server, config: Path, whole: Whole, tmp_path: Path) -> None:
    """As it starts, between steps, and at any moment of a save; each time it goes on from a whole checkpoint."""
    out, dice = tmp_path / "run", random.Random(7)
    moments = dice.sample(["start", "step", "save"], counts=[6, 4, 10], k=20)
    starting, half_written, last = 1.0, 0, 0
    for moment in moments:
        began = time.perf_counter()
        # What was killed before it wrote its configuration left nothing to resume.
        resumed = (out / "config.yaml").exists()
        pid = server.start("train", *(["--resume"] if resumed else [str(config)]), "--out", str(out))
        if moment == "start":
            time.sleep(dice.random() * starting)
        else:
            assert server.until("step"), f"the run ended by itself; {server.errors.read_text()}"
            starting = time.perf_counter() - began
        if moment == "save":
            # A save begins when the one before it is committed: each of these kills loses at most one step of two or
            # more.
            for _ in range(dice.randint(2, 3)):
                assert server.until("saving"), f"the run ended by itself; {server.errors.read_text()}"
            time.sleep(dice.random() * whole.saving)
        os.kill(pid, signal.SIGKILL)
        assert server.end() == -signal.SIGKILL
        half_written += any((out / "checkpoint").glob(f"*{TEMPORARY}*"))
        with Checkpointer(out / "checkpoint") as checkpointer:
            step = checkpointer.latest() or 0
        assert last <= step < STEPS
        last = step
    assert last >= 10
    assert half_written >= 3, "the kills must not all miss the saves"
    server.start("train", "--resume", "--out", str(out))
    assert server.until("digest") == whole.digest
    assert server.end() == 0
    assert same(arrays(out / "snapshots"), arrays(whole.out / "snapshots"))


def test_kills_of_a_network_of_weights_of_fixed_length_change_nothing(server: Server, tmp_path: Path) -> None:
    """Between steps and while saving, under updates that lengthen weights by much before they are set back."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).uniform(-1, 1, (16, 4, 4, 1)).astype(np.float32))
    small = {"base_channels": 8, "channel_mults": [1], "num_blocks": 1, "attention_levels": [], "head_dim": 8}
    data = {"kind": "arrays", "path": str(tmp_path / "images.npy")}
    check_kills(server, tmp_path, {"data": data, "backbone": {"kind": "edm2", **small}})


def test_kills_of_a_documented_model_change_nothing(server: Server, tmp_path: Path) -> None:
    """A latent model, whose latents, noise and dropped labels are random."""
    data = {"kind": "toy", "name": "moons", "size": 50}
    check_kills(server, tmp_path, {"data": data, "model": {"class": "LDMModel", "hidden_dims": [8], "latent_dim": 2}})


def check_kills(server: Server, folder: Path, config: dict[str, object]) -> None:
    """A run killed after a step and in a save resumes to the same bits."""
    run = {
        **config,
        "optimizer": {"learning_rate": 0.1, "warmup_steps": 0},
        "steps": 8,
        "batch_size": 4,
        "checkpoint": {"every": 1, "max_to_keep": 1},
    }
    path, out = folder / "run.yaml", folder / "run"
    path.write_text(yaml.safe_dump(run))
    server.start("train", str(path), "--out", str(folder / "whole"))
    whole = server.until("digest")
    assert server.end() == 0, server.errors.read_text()
    for arguments, moment in (([str(path)], "step"), (["--resume"], "saving")):
        pid = server.start("train", *arguments, "--out", str(out))
        for _ in range(3):
            assert server.until(moment), f"the run ended by itself; {server.errors.read_text()}"
        os.kill(pid, signal.SIGKILL)
        assert server.end() == -signal.SIGKILL
    assert 2 <= (RunFolder(out).latest_step() or 0) < 8
    server.start("train", "--resume", "--out", str(out))
    assert server.until("digest") == whole
    assert server.end() == 0


def arrays(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    return {path.name: load_file(path) for path in folder.glob("*.safetensors")}


def test_sigterm_and_ctrl_c_save_and_say_how_to_go_on(
    server: Server, config: Path, whole: Whole, tmp_path: Path
) -> None:
    out = tmp_path / "a run"
    # Nothing else saves.
    arguments, done = ["train", str(config), "--out", str(out), "--set", f"checkpoint.every={STEPS}"], 0
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        pid = server.start(*arguments)
        for _ in range(3):
            assert server.until("step")
        os.kill(pid, number)
        assert server.end() == code
        with Checkpointer(out / "checkpoint") as checkpointer:
            step = checkpointer.latest()
        assert step is not None
        assert done + 3 <= step < STEPS
        assert server.errors.read_text() == (
            f"artifex: stopped by {number.name}; the checkpoint of step {step} of {STEPS} is saved. "
            f"Continue with: artifex train --resume --out '{out}'\n"
        )
        arguments, done = ["train", "--resume", "--out", str(out)], step
    server.start(*arguments)
    assert server.until("digest") == whole.digest
    assert server.end() == 0
