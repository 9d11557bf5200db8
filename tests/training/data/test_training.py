"""Messages of a run about unreadable data."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from artifex.command.app import main
from artifex.training import Trainer
from artifex.training.cli import train
from tests.training.helpers.tiny import Tiny

RUN = """data: {kind: folder, path: images}
steps: 3
batch_size: 4
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "Trainer", partial(Trainer, network=Tiny(nnx.Rngs(0), pixels=12)))
    (tmp_path / "images").mkdir()
    for i in range(4):
        Image.fromarray(np.full((2, 2, 3), i, np.uint8)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "images" / "2.png").write_bytes(b"corrupt")
    (tmp_path / "run.yaml").write_text(RUN)
    return tmp_path


@pytest.mark.slow
def test_a_corrupt_image_ends_a_run_in_one_line_or_is_counted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run.yaml"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(
        "data: 4 images of 2x2 pixels and 3 channels in images\n  no classes\n604 parameters; at least "
    )
    assert err.count("\n") == 1
    assert "images/2.png can't be read: " in err
    assert "data.corrupt=skip" in err
    assert main(["train", "run.yaml", "--set", "data.corrupt=skip", "--out", "skipped"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"1 unreadable files were skipped, such as \S*/images/2\.png\n", out)


def test_a_folder_that_is_not_there_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run.yaml", "--set", "data.path=none"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.endswith("none: no such file or directory\n")
