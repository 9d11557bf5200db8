import shutil
from pathlib import Path

import jax.numpy as jnp
import pytest

from artifex.command.app import main
from artifex.training import Checkpointer, parse_config, read_config
from tests.training.cli.test_cli import tree

TOY = """data: {kind: toy, size: 64}
backbone: {kind: mlp, hidden: 8, depth: 1}
steps: 3
batch_size: 8
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(TOY)
    (tmp_path / "a file").write_text("x")
    (tmp_path / "odd" / "config.yaml").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train"], "CONFIG must be given, or --resume; `artifex info config` prints a default one"),
        (["train", "no.yaml"], "no.yaml could not be read: no such file or directory"),
        (["train", "a file"], "a file: a configuration must be keys and values, got 'x'"),
        (["train", "toy.yaml", "--set", "step=3"], "toy.yaml: step is not known; the nearest known is steps"),
        (["train", "toy.yaml", "--set", "steps=0"], "toy.yaml: steps must be greater than 0, got 0"),
        (["train", "toy.yaml", "--set", "steps"], "--set expects key=value, for instance optimizer.learning_rate=1e-3"),
        (["train", "toy.yaml", "--set", "backbone=unet"], "backbone.kind 'unet' does not take the data's points (d,)"),
        (["train", "toy.yaml", "--set"], "Option '--set' requires an argument"),
        (["train", "toy.yaml", "--sets", "a=b"], "No such option: --sets"),
        (["train", "toy.yaml", "other.yaml"], "unexpected extra argument(s) (other.yaml)"),
        (["train", "toy.yaml", "--out", ""], "--out must be a folder, got ''"),
        (["train", "toy.yaml", "--out", "a file"], "--out must be a folder, got a file, a file"),
        (["train", "toy.yaml", "--out", "odd"], "odd/config.yaml must be a file that can be replaced, got a folder"),
        (
            ["train", "--resume"],
            "--resume expects an earlier run in artifex-run, got none",
        ),
        (["info"], "Missing argument"),
        (["info", "nowhere"], "WHAT must be 'config' or the folder of a run, got 'nowhere'"),
        (["info", "a file"], "WHAT must be 'config' or the folder of a run, got 'a file'"),
        (["info", "."], "WHAT must be 'config' or the folder of a run, got '.'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    before = tree(folder)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("artifex: ")
    assert says in err
    assert tree(folder) == before


@pytest.mark.slow
def test_a_run_is_trained_told_of_and_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "toy.yaml", "--set", "seed=5", "--set", "schedule.steps=50", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert " parameters learned for 3 steps in " in out
    assert "images a second" in out
    config = read_config(folder / "run" / "config.yaml")
    assert (config.seed, config.steps) == (5, 3)
    assert config == parse_config(TOY, ["seed=5", "schedule.steps=50"])

    assert main(["info", "run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# step 3 of 3, after ")
    assert parse_config(out) == config

    before = tree(folder)
    says = "run holds a run of 3 steps: --resume continues it, another --out"
    assert main(["train", "toy.yaml", "--out", "run"]) == 2
    assert says in capsys.readouterr().err
    assert tree(folder) == before


@pytest.mark.slow
def test_a_loss_that_stays_not_finite_ends_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    huge = ["optimizer={name: sgd, learning_rate: 1e30, clip_norm: null}", "steps=50", "max_skipped=2"]
    assert main(["train", "toy.yaml", *(part for one in huge for part in ("--set", one))]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(
        "data: 64 points of 2 numbers in moons\n  2 classes: 0 (31), 1 (33)\n426 parameters; at least "
    )
    assert out.count("\n") == 3
    assert err.count("\n") == 1
    assert "the loss or its gradient was not finite in 2 steps in a row" in err


def test_the_printed_configuration_is_one_to_begin_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "config"]) == 0
    assert parse_config(capsys.readouterr().out) == parse_config("data: digits")


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = folder / "old"
    with Checkpointer(old / "checkpoint") as checkpointer:
        metadata = {"config": {"version": 1, "data": {"kind": "digits"}}, "seconds": 1.0}
        checkpointer.save(1, {"x": jnp.zeros(1)}, metadata)
    (old / "config.yaml").write_text("version: 1\n" + TOY)
    before = tree(folder)
    commands = (
        ["train", "--resume", "--out", "old"],
        ["sample", "old"],
        ["evaluate", "old"],
        ["convert", "old", "new"],
    )
    for arguments in commands:
        assert main(arguments) == 2, arguments
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "version must be 2, the format that this version reads, got 1; it is of an earlier version" in err
    assert main(["info", "old"]) == 2
    says = "artifex: old holds a configuration that this version of Artifex can't read: version must be 2, got 1\n"
    assert capsys.readouterr().err == says
    assert tree(folder) == before

    shutil.rmtree(old / "checkpoint" / "1" / "manifest")
    for arguments in (["info", "old"], ["train", "--resume", "--out", "old"]):
        assert main(arguments) == 1, arguments
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "it has no manifest, so it is incomplete or was written by an earlier version of Artifex" in err
