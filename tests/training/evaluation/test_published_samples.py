"""The command ``evaluate`` on files as other libraries write them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artifex.command.app import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (64, 4, 4, 3), np.uint8)
    np.savez("ours.npz", samples=(x[:32] / 127.5 - 1).astype(np.float32), labels=np.resize([3, 7], 32))
    # guided-diffusion: bytes by numpy.savez without names, labels of the classes drawn
    np.savez("adm.npz", x[32:], np.resize([3, 7], 32))
    np.savez("floats.npz", samples=x / 255)
    np.savez("first.npz", samples=x.transpose(0, 3, 1, 2).repeat(2, axis=2).repeat(2, axis=3))
    return tmp_path


@pytest.mark.parametrize(("source", "against"), [("ours", "adm"), ("adm", "ours"), ("adm", "adm")])
def test_samples_of_guided_diffusion_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str, against: str
) -> None:
    arguments = ["evaluate", f"{source}.npz", "--against", f"{against}.npz", "--extractor", "raw", "--metrics", "kid"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "32 generated, 32 real" in out


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("floats", "[0, 1], which looks like [0, 1]; set data.value_range=[0,1]"),
        ("first", "channels first; set data.layout=NCHW"),
    ],
)
def test_samples_on_another_scale_are_refused_in_one_line_and_read_by_a_yaml_file(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str, says: str
) -> None:
    arguments = ["--against", "adm.npz", "--extractor", "raw", "--metrics", "sliced_wasserstein"]
    assert main(["evaluate", f"{source}.npz", *arguments]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "SOURCE can be a YAML file with data: {kind: arrays, ...}\n" in err
    assert err.count("\n") == 1
    if source == "floats":
        (folder / "floats.yaml").write_text("data: {kind: arrays, path: floats.npz, value_range: [0, 1]}\n")
        assert main(["evaluate", "floats.yaml", *arguments]) == 0


@pytest.mark.slow
def test_which_part_is_taken_and_what_is_left_out_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    for i, pixels in enumerate(x):
        path = folder / "photos" / ("test" if i < 4 else "train") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (folder / "photos" / "train" / "a.heic").write_bytes(b"x")
    arguments = ["--against", "photos", "--extractor", "raw", "--metrics", "sliced_wasserstein"]
    assert main(["evaluate", "adm.npz", *arguments]) == 0
    out, err = capsys.readouterr()
    assert "32 generated, 16 real" in out
    assert err == ("--against: split train of test, train; data.split chooses\n--against: left out: .heic (1)\n")
