"""The files of a run: metrics, previews, TensorBoard's events; and samples of it."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tensorboardX.proto.event_pb2 import Event

from artifex.command.app import main
from artifex.schedules import NetworkDenoiser
from artifex.training import Report, RunConfig, Trainer
from artifex.training.config.optimizer import learning_rate
from artifex.training.config.sampling import SamplingConfig
from artifex.training.config.yaml import parse_config
from artifex.training.ema import Snapshots
from artifex.training.run.metrics_log import MetricsLog, keep_until
from artifex.training.run.sampling import SampleGenerator
from artifex.training.step.loss_by_level import levels_of

pytestmark = pytest.mark.slow

CONFIG = """
data: {kind: toy, name: moons, size: 500}
backbone: {kind: mlp, hidden: 16, depth: 1}
ema: {kind: power, snapshot_every: 2}
batch_size: 8
steps: 12
checkpoint: {every: 5}
log: {every: 4, tensorboard: true}
preview: {every: 6, sampler: dpmpp_2m, steps: 4, count: 30}
"""
TIMES = ("images_per_second", "seconds")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder: Path) -> Iterator[tuple[int, str, float | bytes]]:
    """Read TensorBoard's events: each record is its length, a checksum, an event and a checksum."""
    for path in sorted((folder / "tensorboard").iterdir()):
        data, position = path.read_bytes(), 0
        while position < len(data):
            length = int.from_bytes(data[position : position + 8], "little")
            event = Event.FromString(data[position + 12 : position + 12 + length])
            position += length + 16
            for value in event.summary.value:
                yield event.step, value.tag, value.image.encoded_image_string or value.simple_value


class Runs(NamedTuple):
    """A run without a break, and one that was stopped after step 7, between lines, and went on."""

    whole: Path
    broken: Path
    config: RunConfig
    losses: np.ndarray


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    config = parse_config(CONFIG)
    trained = Trainer(config, whole).fit()
    questions = count(-7)
    trainer = Trainer(config, broken)
    trainer.fit(stop=lambda: next(questions) >= 0)
    # A process that was killed has logged steps after the last checkpoint, the last line truncated.
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "loss": 9.0}\n{"step": 12, "lo')
    trainer.fit(resume=True)
    return Runs(whole, broken, config, np.asarray(trained.losses, np.float64))


def test_every_window_is_told_once_with_its_mean_loss(runs: Runs) -> None:
    logged = lines(runs.whole)
    assert [line["step"] for line in logged] == [4, 8, 12]
    for i, line in enumerate(logged):
        assert np.isclose(line["loss"], runs.losses[4 * i : 4 * i + 4].mean(), rtol=1e-5)
        rate = learning_rate(runs.config.optimizer, 12)(line["step"] - 1)
        assert np.isclose(line["learning_rate"], float(rate), rtol=1e-6)
        assert line["gradient_norm"] > 0
        assert all(-12 < center < 12 and loss > 0 for center, loss in line["loss_by_logsnr"])
        assert line["skipped"] == 0
        assert all(line[name] > 0 for name in TIMES)


def test_a_resumed_run_has_told_what_an_unbroken_one_has(runs: Runs) -> None:
    whole, broken = (
        [{k: v for k, v in line.items() if k not in TIMES} for line in lines(folder)]
        for folder in (runs.whole, runs.broken)
    )
    assert broken == whole
    for name in ("00000006.png", "00000012.png"):
        assert (runs.broken / "previews" / name).read_bytes() == (runs.whole / "previews" / name).read_bytes()
    assert {p.name for p in (runs.broken / "previews").iterdir()} == {"00000006.png", "00000012.png"}
    stored = [f"{step:08d}.safetensors" for step in range(2, 13, 2)]
    for folder in (runs.whole, runs.broken):
        assert sorted(p.name for p in (folder / "snapshots").iterdir()) == stored
    arrays = [load_file(folder / "snapshots" / stored[-1]) for folder in (runs.whole, runs.broken)]
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])


def test_previews_show_a_network_that_changes(runs: Runs) -> None:
    first, last = (np.asarray(Image.open(runs.whole / "previews" / f"{step:08d}.png")) for step in (6, 12))
    assert first.shape == last.shape
    assert np.mean(first != last) > 1e-3
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 2


def test_tensorboard_is_told_the_same(runs: Runs) -> None:
    logged = {(step, tag): value for step, tag, value in events(runs.whole)}
    for line in lines(runs.whole):
        for name in ("loss", "gradient_norm", "learning_rate", "skipped"):
            value = logged[line["step"], name]
            assert isinstance(value, float)
            assert np.isclose(value, line[name], rtol=1e-6)
    picture = logged[12, "samples"]
    assert isinstance(picture, bytes)
    assert picture.startswith(b"\x89PNG")


def test_samples_are_a_picture_and_numbers(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same: list[np.ndarray] = []
    for name, more in (
        ("a", ["--batch", "3"]),
        ("c", ["--seed", "1", "--guidance", "3"]),
        ("d", ["--ema", "0.07"]),
    ):
        out = tmp_path / name
        arguments = [
            "sample",
            str(runs.whole),
            "--count",
            "7",
            "--labels",
            "1,0-1",
            "--sampler",
            "ddpm",
            "--steps",
            "5",
        ]
        assert main([*arguments, "--out", str(out), *more]) == 0
        assert {path.name for path in out.iterdir()} == {"samples.png", "samples.npz"}
        with np.load(out / "samples.npz") as stored:
            assert sorted(stored.files) == ["labels", "samples"]
            assert (stored["samples"].shape, stored["samples"].dtype) == ((7, 2), np.float32)
            assert stored["labels"].tolist() == [1, 0, 1, 1, 0, 1, 1]
            same.append(stored["samples"])
        with Image.open(out / "samples.png") as picture:
            assert min(picture.size) > 200
    printed = capsys.readouterr().out
    assert "7 samples of step 12, averaged over a width of 0.07 at step 12" in printed
    assert "ddpm, 5 steps, guidance 1, seed 0" in printed
    assert "ddpm, 5 steps, guidance 3, seed 1" in printed
    # They are what the library draws with the run's first average, or with that of another width.
    trained = Trainer.from_folder(runs.whole).load()
    averages = (
        trained.state.average[0],
        Snapshots(runs.whole / "snapshots").reconstruct(0.07, trained.parameters, 12)[0],
    )
    path, settings = trained.objective, {"sampler": "ddpm", "steps": 5}
    for got, parameters, guidance, seed in zip(same, (averages[0], *averages), (1.0, 3.0, 1.0), (0, 1, 0), strict=True):
        drawing = SampleGenerator.from_config(
            SamplingConfig.model_validate({**settings, "guidance": guidance}), runs.config.schedule, (2,), 2
        )
        denoiser = NetworkDenoiser(trained.network.apply, path.prediction, parameters)
        (drawn,) = drawing.draw(denoiser, 7, np.array([1, 0, 1, 1, 0, 1, 1], np.int32), jax.random.key(seed), 7)
        np.testing.assert_allclose(got, drawn, atol=1e-5)
    assert np.abs(same[0] - same[2]).max() > 1e-4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--sampler", "dimm"], "--sampler must be one of ddim, ddpm, "),
        (["--steps", "1001"], "steps must be in [1, 1000], got 1001"),
        (["--labels", "2"], "labels must be in [0, 1], at least one, got [2]"),
        (["--classes", "moon"], "--classes must be of 0, 1, got 'moon'"),
        (["--labels", "1,x"], "--labels must be whole numbers in [0, 99999] such as 0,3,5-7, got '1,x'"),
        (["--labels", "3-1"], "labels must be in [0, 1], at least one, got []"),
        (["--ema", "0.3"], "--ema must be a number in [0, 0.288675], got '0.3'"),
        (["--ema", "0"], "sigma_rel must be in (0, 0.288675], got 0.0"),
        (["--guidance", "nan"], "--guidance must be a number in [-100, 100], got 'nan'"),
        (["--count", "0"], "--count must be a whole number in [1, 10000000], got '0'"),
        (["--out", ""], "--out must be a folder, got ''"),
    ],
)
def test_what_can_not_be_drawn_is_said_in_one_line(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["sample", str(runs.whole), "--out", str(tmp_path / "out"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "CHECKPOINT must be the folder of a run, got" in capsys.readouterr().err


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, 2, done=0, batch_size=4, learning_rate=lambda k: 0.5**k) as log:
        log(Report(1, 3, 1.0))
        log(Report(2, 3, float("nan"), float("inf"), 1, levels_of(jnp.asarray([0.5]), jnp.asarray([jnp.nan]))))
        log(Report(3, 3, 2.0, 1.0, 1))
    logged = lines(tmp_path)
    assert [(line["step"], line["loss"], line["gradient_norm"]) for line in logged] == [(2, None, None), (3, 2.0, 1.0)]
    # One of two steps was skipped: the second learning rate is that of the second update.
    assert [line["learning_rate"] for line in logged] == [1.0, 0.5]
    assert logged[0]["loss_by_logsnr"] == [[0.5, None]]


def test_lines_after_a_step_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    keep_until(path, 5)
    assert not path.exists()
    path.write_text('{"step": 5}\n{"step": 10}\nno json\n{"loss": 1}\n{"step": 10}')
    keep_until(path, 10)
    assert path.read_text() == '{"step": 5}\n{"step": 10}\n'
    keep_until(path, 0)
    assert path.read_text() == ""


def test_tensorboard_that_is_missing_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("artifex.training.run.metrics_log.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs tensorboardX: pip install 'artifex-training\[tensorboard\]'"):
        Trainer(parse_config(CONFIG), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_preview_that_can_not_be_drawn_is_refused_before_training() -> None:
    config = parse_config(CONFIG, ["preview.steps=2000"])
    with pytest.raises(ValueError, match=r"steps must be in \[1, 1000\], got 2000"):
        Trainer(config)


def test_a_run_is_loaded_as_it_was_saved(runs: Runs) -> None:
    loaded = Trainer.from_folder(runs.whole).load()
    assert loaded.steps_done == 12
    assert np.array_equal(np.asarray(loaded.losses, np.float64), runs.losses)
    assert [leaf.shape for leaf in jax.tree.leaves(loaded.parameters)] == [
        leaf.shape for leaf in jax.tree.leaves(loaded.state.parameters)
    ]
    with pytest.raises(ValueError, match="folder must be that of a run to load from, got None"):
        Trainer(runs.config).load()
