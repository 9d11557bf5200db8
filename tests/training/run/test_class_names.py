"""Classes keep their names from a folder to samples drawn by them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artifex.command.app import main
from artifex.training import BackboneConfig, RunConfig, Trainer, read_config
from artifex.training.data import Arrays, Digits, ImageFolder
from artifex.training.run.labeled_plots import labeled_picture
from tests.training.data.test_walk import images

pytestmark = pytest.mark.slow

RUN = """data: {kind: folder, path: pets, size: 4}
backbone: {kind: dit, hidden: 8, depth: 1, heads: 1}
schedule: {kind: discrete, steps: 20}
steps: 2
batch_size: 4
preview: {every: 2, count: 9, steps: 2}
"""
MLP = BackboneConfig.model_validate({"kind": "mlp", "hidden": 8, "depth": 1})
DIT = BackboneConfig.model_validate({"kind": "dit", "hidden": 8, "depth": 1, "heads": 1})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    images(folder / "pets", "cat/1.png", "cat/2.png", "dog, small/3.png", "owl/4.png", "owl/5.heic")
    (folder / "run.yaml").write_text(RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "run.yaml", "--out", "run"]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (["--classes", "owl,cat"], [2, 0, 2, 0, 2]),
        (["--classes", " cat , owl"], [0, 2, 0, 2, 0]),
        (["--classes", "dog, small"], [1, 1, 1, 1, 1]),
        (["--labels", "2,0"], [2, 0, 2, 0, 2]),
    ],
)
def test_samples_are_drawn_by_the_names_of_classes(
    folder: Path, tmp_path: Path, options: list[str], labels: list[int]
) -> None:
    # A class that is new sorts before the others, and changes none of their numbers.
    images(folder / "pets", "ant/9.png")
    assert main(["sample", "run", "--count", "5", "--steps", "2", "--out", str(tmp_path / "out"), *options]) == 0
    with np.load(tmp_path / "out" / "samples.npz") as drawn:
        assert drawn["labels"].tolist() == labels
        picture = labeled_picture(drawn["samples"], drawn["labels"], ("cat", "dog, small", "owl"))
    with Image.open(tmp_path / "out" / "samples.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(picture))


def test_a_run_keeps_the_names_and_previews_show_them(folder: Path) -> None:
    data = read_config(folder / "run" / "config.yaml").data
    assert isinstance(data, ImageFolder)
    assert data.classes == ("cat", "dog, small", "owl")
    with Image.open(folder / "run" / "previews" / "00000002.png") as shown:
        # a row for each of three classes: names, and three images of 64 pixels with a gap of 4 around each
        assert shown.height == 3 * (64 + 2 * 4)
        assert shown.width > 3 * (64 + 4) + 4 + 50


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--classes", "owls"], "--classes must be of cat, dog, small, owl, got 'owls'; the nearest is owl"),
        (["--classes", "3"], "--classes must be of cat, dog, small, owl, got '3'\n"),
        (["--classes", ""], "--classes must be of cat, dog, small, owl, got ''\n"),
        (["--classes", "owl", "--labels", "1"], "--labels and --classes exclude each other; give one of them"),
    ],
)
def test_other_names_are_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["sample", "run", "--out", str(tmp_path / "out"), *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_training_begins_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "pets", "cat/1.png", "cat/2.png", "owl/4.png", "owl/5.heic")
    (tmp_path / "run.yaml").write_text(RUN)
    assert main(["train", "run.yaml", "--set", "steps=1", "--set", "preview=null"]) == 0
    assert capsys.readouterr().out.startswith(
        "data: 3 images of 4x4 pixels and 3 channels in pets\n  2 classes: cat (2), owl (1)\n  left out: .heic (1)\n"
    )


def test_names_are_those_of_the_data_wherever_it_comes_from(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
    np.savez(tmp_path / "d.npz", x=x, y=np.resize(["b", "a"], 6))
    small = RunConfig(data=Arrays(path=tmp_path / "d.npz"), backbone=MLP)
    trainer = Trainer(small)
    assert trainer.classes == ("a", "b")
    assert isinstance(trainer.config.data, Arrays)
    assert trainer.config.data.classes == ("a", "b")
    again = Trainer(trainer.config)
    assert again.config == trainer.config
    assert again.data.source[0][1] == 1
    assert Trainer(small, data=trainer.data).config == small
    assert Trainer(small, data=trainer.data).classes == ("a", "b")
    assert Trainer(RunConfig(data=Digits(), backbone=DIT)).classes == tuple("0123456789")
