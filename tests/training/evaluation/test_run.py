"""A run's own network, evaluated: samples of it against its data, and the bits it spends on them."""

import json
from pathlib import Path

import numpy as np
import pytest

from artifex.training import RunConfig, Toy, Trainer
from artifex.training.cli import main
from artifex.training.data import open_dataset
from artifex.training.evaluation import Features, fid
from artifex.training.evaluation.examples import in_memory
from artifex.training.evaluation.run import Run
from artifex.training.reading import parse_config

CONFIG = """
data: {kind: toy, name: gaussians, size: 300}
backbone: {kind: mlp, hidden: 16, depth: 1}
schedule: {kind: %s}
prediction: velocity
steps: 2
"""


def config(schedule: str) -> RunConfig:
    return parse_config(CONFIG % schedule)


def test_a_run_against_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Trainer(config("discrete"), "run").fit()
    arguments = ["evaluate", "run", "--count", "64", "--metrics", "fid,kid", "--bits", "3", "--out", "r.json"]
    assert main(arguments) == 0
    first, *scores, bits = capsys.readouterr().out.splitlines()
    assert first == "raw values; 64 generated, 64 real"
    assert [line.split()[0] for line in scores] == ["fid", "kid"]
    assert bits.startswith("bits_per_dim ")
    assert "(density of the network of step 2, without labels; 3 real; dequantised = none" in bits
    told = json.loads(Path("r.json").read_text())
    assert told["against"] == "gaussians"
    assert f"{told['bits_per_dim']['value']:.4g}" in bits
    run = Run(Path("run"))
    # Other samples, held against other data.
    assert main(["evaluate", "run", "--against", "moons", "--count", "64", "--metrics", "fid", "--seed", "1"]) == 0
    drawn, moons = np.concatenate(list(run.samples(64, 1))), in_memory(open_dataset(Toy(name="moons")), 64).x
    expected = fid(Features.of("raw values", drawn), Features.of("raw values", moons)).value
    assert float(capsys.readouterr().out.splitlines()[1].split()[1]) == pytest.approx(expected, rel=1e-3)
    assert run.ends == (999, 0)
    assert run.levels is None


def test_a_run_without_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checkpoint").mkdir()
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "config.yaml could not be read" in capsys.readouterr().err
