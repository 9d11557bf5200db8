"""Paths: home folders, data that moved, runs that were copied, names of any letters."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from artifex.command.app import main
from artifex.training import Trainer, export_network, load_exported, parse_config, read_config
from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.data import Arrays, ImageFolder
from artifex.training.run.folder import RunFolder
from tests.training.cli.test_cli import tree

pytestmark = pytest.mark.slow

RUN = """
data: {kind: arrays, path: data.npy, labels: labels.npy}
backbone: {kind: mlp, hidden: 8, depth: 1}
schedule: {kind: discrete, steps: 20}
steps: 2
batch_size: 8
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in ``run``, its configuration and its data."""
    folder = tmp_path_factory.mktemp("trained")
    np.save(folder / "data.npy", np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32))
    np.save(folder / "labels.npy", np.arange(30) % 3)
    (folder / "run.yaml").write_text(RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "run.yaml", "--out", "run"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is home and where the command runs."""
    home = tmp_path / "a höme"
    shutil.copytree(trained, home)
    # As if it had been trained there.
    config = (home / "run" / "config.yaml").read_text()
    (home / "run" / "config.yaml").write_text(config.replace(str(trained), str(home)))
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    return home


def test_results_are_read_without_the_data_wherever_the_run_lies(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("data.npy", "labels.npy"):
        (folder / name).unlink()
    (folder / "run").rename("moved")
    np.save("real.npy", np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32))
    before = tree(folder / "moved")
    draw = ["--steps", "2", "--count", "4"]
    assert main(["sample", "moved", *draw, "--out", "drawn"]) == 0
    assert main(["convert", "moved", "run.safetensors"]) == 0
    assert main(["evaluate", "moved", *draw, "--against", "real.npy", "--metrics", "sliced_wasserstein"]) == 0
    assert main(["info", "moved"]) == 0
    assert tree(folder / "moved") == before
    assert load_exported("run.safetensors").card.num_classes == 3
    with np.load("drawn/samples.npz") as stored:
        assert stored["labels"].tolist() == [0, 1, 2, 0]
    reader = Trainer.from_folder("moved", any_devices=True)
    assert (reader.shape, reader.num_classes, reader.load().steps_done) == ((2,), 3, 2)
    capsys.readouterr()
    # Commands that need the data report it.
    for arguments in (["train", "--resume", "--out", "moved"], ["evaluate", "moved", *draw]):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "data.npy" in err


def test_a_checkpoint_of_an_earlier_version_has_its_data_opened(folder: Path) -> None:
    reader = Trainer.from_folder("run", any_devices=True)
    with Checkpointer(folder / "old" / "checkpoint") as checkpointer:
        notes = reader._saved.metadata() if reader._saved else {}
        data = {name: notes["data"][name] for name in ("data", "examples", "batch_size", "seed", "step", "skipped")}
        checkpointer.save(2, reader.load().state, {**notes, "data": data})
    shutil.copy("run/config.yaml", "old/config.yaml")
    old = Trainer.from_folder("old", any_devices=True)
    assert (old.shape, old.num_classes, old.load().steps_done) == ((2,), 3, 2)
    assert main(["train", "--resume", "--set", "steps=3", "--out", "old"]) == 0
    (folder / "data.npy").unlink()
    (folder / "old" / "checkpoint" / "3").rename(folder / "3")
    with pytest.raises(FileNotFoundError, match=r"data\.npy"):
        Trainer.from_folder("old", any_devices=True)


def test_home_is_home_in_every_option_and_in_a_configuration(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    home_data = ["--set", "data.path=~/data.npy", "--set", "data.labels=~/labels.npy"]
    draw = ["--steps", "2", "--count", "4"]
    for arguments in (
        ["train", "~/run.yaml", *home_data, "--out", "~/new run"],
        ["train", "--resume", "--out", "~/new run"],
        ["info", "~/new run"],
        ["sample", "~/new run", *draw, "--out", "~/drawn"],
        ["convert", "~/new run", "~/new.safetensors"],
        ["evaluate", "~/new run", *draw, "--against", "~/data.npy", "--extractor", "raw", "--out", "~/scores.json"],
        ["evaluate", "~/drawn/samples.npz", "--against", "~/run.yaml", "--extractor", "raw", "--out", "~/two.json"],
    ):
        if "~/run.yaml" in arguments[2:]:
            monkeypatch.chdir(folder)  # the path in it is relative
        assert main(arguments) == 0, arguments
    assert not list((tmp_path / "elsewhere").iterdir())
    config = read_config(folder / "new run" / "config.yaml")
    assert isinstance(config.data, Arrays)
    assert (config.data.path, config.data.labels) == (folder / "data.npy", folder / "labels.npy")
    assert {"drawn", "new.safetensors", "scores.json", "two.json"} <= {path.name for path in folder.iterdir()}

    trainer = Trainer(parse_config(RUN, [o for o in home_data if o != "--set"]), "~/of python")
    trainer.fit()
    assert trainer.folder == RunFolder(folder / "of python")
    export_network(Trainer.from_folder("~/of python"), "~/python.safetensors")
    assert load_exported("~/python.safetensors").card.step == 2
    assert len(load_file(folder / "python.safetensors")) > 0
    assert Checkpointer(Path("~/of python/checkpoint")).latest() == 2
    assert ImageFolder(path=Path("~/pictures")).path == folder / "pictures"


def test_a_relative_path_is_kept_as_it_was_meant(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["train", "run.yaml", "--out", "fresh"]) == 0
    stored = yaml.safe_load((folder / "fresh" / "config.yaml").read_text())
    assert stored["data"]["path"] == str(folder / "data.npy")
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume", "--set", "steps=3", "--out", str(folder / "fresh")]) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["train", "run.yaml", "--out", "~no-such-user/x"],
            "--out: ~no-such-user/x begins with an unknown home folder",
        ),
        (
            ["train", "run.yaml", "--set", "data.path=~no-such-user/x.npy"],
            "begins with an unknown home folder",
        ),
        (["sample", "~no-such-user/x"], "CHECKPOINT: ~no-such-user/x begins with an unknown home folder"),
        (["convert", "~no-such-user/x", "y"], "SRC: ~no-such-user/x begins with an unknown home folder"),
        (["convert", "run", "~no-such-user/x"], "DST: ~no-such-user/x begins with an unknown home folder"),
        (["info", "~no-such-user/x"], "~no-such-user/x begins with an unknown home folder"),
        (
            ["evaluate", "~no-such-user/x", "--against", "moons"],
            "~no-such-user/x begins with an unknown home folder",
        ),
        (
            ["evaluate", "run", "--against", "~no-such-user/x"],
            "~no-such-user/x begins with an unknown home folder",
        ),
        (["train", ""], "CONFIG must be a file, got ''"),
        (["sample", ""], "CHECKPOINT must be a folder, got ''"),
        (["convert", "", "x"], "SRC must be a path, got ''"),
        (["train", "x" * 5000], "could not be read: file name too long"),
        (["info", "x" * 5000], "xxxxx"),
        (["convert", "x" * 5000, "y"], "xxxxx"),
        (["train", "run.yaml", "--accept-changed-data"], "--accept-changed-data is for --resume"),
    ],
)
def test_a_path_that_can_not_be_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    before = tree(folder)
    assert main(arguments) != 0
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert tree(folder) == before
