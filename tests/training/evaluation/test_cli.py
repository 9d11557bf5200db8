"""The command ``evaluate``: what it prints and writes, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from artifex.command.app import main
from artifex.training.data import Augmentation, Dataset, Digits, open_dataset, toy_points
from artifex.training.evaluation.examples import examples


def test_points_against_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("moons.npy", toy_points("moons", 350, 1)[0])
    arguments = ["evaluate", "moons.npy", "--against", "moons", "--count", "400", "--metrics"]
    assert main([*arguments, "fid,kid,precision_recall,sliced_wasserstein", "--out", "moons.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "raw values; 350 generated, 400 real"
    assert lines[1].split() == ["samples", "read", "from", "=", "moons.npy"]
    assert [line.split()[0] for line in lines[2:]] == ["fid", "kid", "precision", "recall", "sliced_wasserstein"]
    stored = json.loads(Path("moons.json").read_text())
    by_name = {score["metric"]: score for score in stored["scores"]}
    assert (by_name["kid"]["extractor"], by_name["kid"]["generated"], by_name["kid"]["real"]) == (
        "raw values",
        350,
        400,
    )
    assert f"{by_name['fid']['value']:.5g}" in lines[2]
    assert stored["sampling"] == {"read from": "moons.npy"}
    assert by_name["fid"]["value"] < 0.05 < by_name["precision"]["value"] - 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["noise.npz"], "--against must be given: SOURCE is no folder of a run, noise.npz"),
        (["noise.npz", "--against", "digits", "--likelihood-bits", "3"], "--likelihood-bits is for a run"),
        (["noise.npz", "--against", "digits", "--sampler", "ddim"], "--sampler is for a run"),
        (["noise.npz", "--against", "digits", "--guidance", "1"], "--guidance is for a run: SOURCE is no folder"),
        (["noise.npz", "--against", "digits", "--ema", "0.1"], "--ema is for a run"),
        (["noise.npz", "--against", "digits", "--seed", "3"], "--seed is for a run"),
        (["noise.npz", "--against", "digits", "--metrics", "fid,fad"], "--metrics must be of fid,kid,"),
        (["noise.npz", "--against", "nowhere"], "--against must be an npz or npy file, a folder of images,"),
        (["nowhere", "--against", "digits"], "SOURCE must be an npz or npy file, a folder of images,"),
        (["noise.npz", "--against", "moons"], "SOURCE and --against must be of one shape, got (8, 8, 1) and (2,)"),
        (["noise.npz", "--against", "noise.npz"], "--extractor must be raw or a file, since noise has no labels"),
        (["noise.npz", "--against", "digits", "--extractor", "vgg"], "--extractor must be classifier, raw, or a safe"),
        (["noise.npz", "--against", "digits", "--extractor", "no.safetensors"], "no file no.safetensors; expected a"),
        (["noise.npz", "--against", "digits", "--extractor", "raw", "--metrics", "fid"], "the metric kid has no bias"),
        (["noise.npz", "--against", "digits", "--out", "no/r.json"], "--out must be a file in a folder that is there"),
        (["noise.npz", "--against", "digits", "--count", "1"], "--count must be a whole number in [2, "),
        (["broken.npz", "--against", "digits"], "broken.npz must be a whole npz file"),
        (["nan.npy", "--against", "moons"], "values must be finite, got NaN or inf"),
    ],
)  # fmt: skip
def test_what_is_refused_in_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("noise.npz", images=np.zeros((5, 8, 8, 1), np.float32))
    np.save("nan.npy", np.full((5, 2), np.nan, np.float32))
    Path("broken.npz").write_bytes(b"PK")
    before = set(tmp_path.iterdir())
    assert main(["evaluate", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert says in printed.err
    assert set(tmp_path.iterdir()) == before


def test_examples_come_once_each_as_they_are() -> None:
    plain, flipped = (open_dataset(Digits(augmentation=Augmentation(flip=flip))) for flip in (False, True))

    def rows(data: Dataset, count: int | None = None) -> np.ndarray:
        return np.concatenate([batch.x for batch in examples(data, 500, count)]).reshape(-1, 64)

    assert {row.tobytes() for row in rows(flipped)} == {plain.source[i][0].tobytes() for i in range(len(plain))}
    assert len(rows(plain)) == len(plain)
    np.testing.assert_array_equal(rows(plain, 600), rows(plain)[:600])
