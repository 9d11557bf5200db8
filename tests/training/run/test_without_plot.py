"""Data that is no picture, and what else could end a long run late: it trains, is saved, drawn and evaluated."""

import logging
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from artifex.command.app import main
from artifex.training import (
    Batch,
    Batches,
    CheckpointConfig,
    Dataset,
    Every,
    Learner,
    Trainer,
    TrainingConfig,
    parse_config,
    train,
)
from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.data.source import ArraySource, UnreadableError
from artifex.training.run.folder import RunFolder
from artifex.training.run.plots import denoising_figure, loss_figure, rendered, samples_figure, samples_picture
from artifex.training.run.preview import Preview
from tests.training.helpers.tiny import OBJECTIVE, Tiny, batches, network

pytestmark = pytest.mark.slow

RUN = """
data: {{kind: arrays, path: {path}, labels_key: null}}
backbone: {backbone}
schedule: {{kind: discrete, steps: 20}}
steps: 2
batch_size: 4
preview: {{every: 2, steps: 2, count: 5}}
"""
MLP = "{kind: mlp, hidden: 8, depth: 1}"
DIT = "{kind: dit, hidden: 16, depth: 1, heads: 2, patch: 4}"


@pytest.mark.parametrize(
    ("shape", "backbone", "picture"),
    [
        ((8, 8, 4), DIT, True),
        ((8, 8, 2), DIT, True),
        ((10,), MLP, False),
        ((2,), MLP, True),
        ((1,), MLP, False),
    ],
)
def test_any_shape_is_trained_sampled_and_evaluated(
    shape: tuple[int, ...],
    backbone: str,
    picture: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", np.random.default_rng(0).uniform(-1, 1, (40, *shape)).astype(np.float32))
    Path("run.yaml").write_text(RUN.format(path="data.npy", backbone=backbone))
    assert main(["train", "run.yaml", "--out", "run"]) == 0
    assert RunFolder(Path("run")).latest_step() == 2
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    why = f"samples of shape {shape} are neither images (h, w, c) of up to 64 channels nor points (2,)"
    assert messages == ([] if picture else [f"previews are written as npz files: {why}"])
    (preview,) = Path("run/previews").iterdir()
    assert preview.name == ("00000002.png" if picture else "00000002.npz")
    if not picture:
        with np.load(preview) as stored:
            assert (stored.files, stored["samples"].shape) == (["samples"], (5, *shape))

    capsys.readouterr()
    # The data may have gone.
    Path("data.npy").rename("gone.npy")
    assert main(["sample", "run", "--count", "6", "--steps", "2", "--out", "drawn"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert {path.name for path in Path("drawn").iterdir()} == {"samples.npz"} | ({"samples.png"} if picture else set())
    assert (f"no picture: {why}" in out) is not picture
    with np.load("drawn/samples.npz") as stored:
        assert stored["samples"].shape == (6, *shape)
    arguments = ["evaluate", "run", "--against", "gone.npy", "--extractor", "raw", "--count", "30"]
    assert main([*arguments, "--steps", "2", "--metrics", "sliced_wasserstein"]) == 0
    assert main(["evaluate", "drawn/samples.npz", *arguments[2:-2], "--metrics", "sliced_wasserstein"]) == 0


def test_channels_lie_side_by_side_in_gray() -> None:
    """Two images of three channels and one: each channel a tile of 64 pixels, four apart."""
    values = np.linspace(-1, 1, 8).reshape(2, 1, 1, 4)
    shown = np.asarray(samples_picture(np.broadcast_to(values, (2, 8, 8, 4)).astype(np.float32)))
    assert shown.shape == (64 + 8, 8 * 68 + 4, 3)
    alone = np.asarray(samples_picture(np.broadcast_to(values.reshape(8, 1, 1, 1), (8, 8, 8, 1)).astype(np.float32)))
    assert np.array_equal(shown, alone)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((3, 1, 1, 1), (3 * 68 + 4, 72)),
        ((2, 300, 1, 3), (2 * (1 + 18) + 18, 336)),
        ((1, 4000, 1000, 3), (128 + 64, 512 + 64)),
        ((300, 513, 513, 1), (10 + 14, None)),
    ],
)
def test_tall_tiny_and_huge_images_make_a_sheet_of_bounded_size(
    shape: tuple[int, ...], size: tuple[int, int | None]
) -> None:
    picture = samples_picture(np.zeros(shape, np.float32))
    if size[1] is not None:
        assert picture.size == size
    assert picture.width * picture.height < 2**26 * 1.1
    assert Image.MAX_IMAGE_PIXELS is not None
    assert picture.width * picture.height < Image.MAX_IMAGE_PIXELS


def test_what_is_not_finite_is_drawn() -> None:
    for shape in ((3, 4, 4, 1), (3, 4, 4, 3), (3, 4, 4, 5), (3, 2)):
        for value in (np.nan, np.inf, -np.inf):
            samples_picture(np.full(shape, value, np.float32))
    for losses in ([np.nan], [0.0, 0.0], [1.0, np.inf, np.nan, 0.5], [-1.0, 2.0]):
        assert rendered(loss_figure(np.asarray(losses))).width > 100
    lines = loss_figure(np.array([2.0, np.nan, 0.5, 0.0, 2.0, 0.5] * 40)).axes[0].get_lines()
    assert np.allclose(np.asarray(lines[1].get_ydata())[20:-20], 1, rtol=0.25)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_figures_of_ink_refuse_other_channels(channels: int) -> None:
    images = np.zeros((2, 8, 8, channels), np.float32)
    with pytest.raises(ValueError, match=r"images must be images \(n, h, w, 1\) of one channel, got"):
        samples_figure(images, np.zeros(2, np.int32))
    with pytest.raises(ValueError, match=r"frames must be images \(n, h, w, 1\) of one channel, got"):
        denoising_figure(images, ["", ""])


def test_a_volume_is_trained_by_a_users_own_network(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (12, 2, 2, 2, 1)).astype(np.float32)
    data = Dataset("volumes", ArraySource(x), (2, 2, 2, 1))
    config = parse_config(RUN.format(path="x.npy", backbone=MLP))
    trainer = Trainer(config, tmp_path, data=data, network=Tiny(nnx.Rngs(0), pixels=8))
    assert trainer.fit().finished
    assert [path.name for path in (tmp_path / "previews").iterdir()] == ["00000002.npz"]


class Failing(Batches):
    """Batches of which the fourth can't be read."""

    def __init__(self) -> None:
        self._inner = batches()
        self._left = 3

    def __next__(self) -> Batch:
        if self._left == 0:
            raise UnreadableError("a.png", "it is cut short")
        self._left -= 1
        return next(self._inner)

    def state(self) -> dict[str, object]:
        return self._inner.state()

    def restore(self, state: Mapping[str, object]) -> None:
        self._inner.restore(state)

    @property
    def skipped(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self._inner.close()


def _raise(*_: object) -> None:
    raise ValueError("a callback of a user's")


@pytest.mark.parametrize("where", ["data", "callback", "every", "after"])
def test_what_fails_on_the_way_does_not_cost_the_steps_before(where: str, tmp_path: Path) -> None:
    """The state that is saved goes on to the bits of a run in which nothing failed."""
    config = TrainingConfig(steps=6, batch_size=4, seed=1, checkpoint=CheckpointConfig(every=100))
    with Checkpointer(tmp_path) as checkpointer:
        with pytest.raises(ValueError, match="cut short" if where == "data" else "a callback of a user's"):
            train(
                Learner(network(), OBJECTIVE, config), Failing() if where == "data" else batches(),
                checkpointer=checkpointer,
                callback=(lambda report: _raise() if report.step == 2 else None) if where == "callback" else None,
                every=[Every(3, _raise, after_saving=where == "after")] if where in ("every", "after") else (),
            )  # fmt: skip
        assert checkpointer.latest() == 3
        rest = train(Learner(network(), OBJECTIVE, config), batches(), checkpointer=checkpointer, resume=True)
    whole = train(Learner(network(), OBJECTIVE, config), batches())
    for a, b in zip(jax.tree.leaves(rest.state), jax.tree.leaves(whole.state), strict=True):
        assert np.array_equal(a, b)


@pytest.fixture
def points(tmp_path: Path) -> Trainer:
    text = "{data: {kind: toy, size: 64}, backbone: {kind: mlp, hidden: 8, depth: 1}, preview: {every: 1, steps: 2}}"
    return Trainer(parse_config(text, ["steps=2", "batch_size=8"]), tmp_path / "run")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError("x"), ValueError("a\nb")])
def test_a_preview_that_fails_is_left_out_with_a_line(
    error: Exception, points: Trainer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Preview, "_write" if isinstance(error, OSError) else "_draw", fail)
    assert points.fit().finished
    assert points.folder is not None
    assert points.folder.latest_step() == 2
    says = [record.getMessage() for record in caplog.records]
    assert len(says) == 2
    assert says[0].startswith("the preview of step 1 was skipped: ")
    assert "\n" not in says[0]


@pytest.mark.parametrize("name", ["previews", "snapshots", "tensorboard", "metrics.jsonl"])
def test_what_is_in_the_way_of_later_results_is_known_at_the_start(
    name: str, points: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert points.folder is not None
    folder = points.folder.path
    folder.mkdir()
    (folder / name).mkdir() if "." in name else (folder / name).write_text("x")
    with pytest.raises(OSError, match=name):
        points.fit()
    assert [path.name for path in folder.iterdir()] == [name]
    (folder.parent / "run.yaml").write_text("{data: toy, backbone: mlp}")
    assert main(["train", str(folder.parent / "run.yaml"), "--out", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metrics", "kid", "--count", "3"], "kid: both sets must be at least 4 samples, got 3 and 3"),
        (["--metrics", "mmd,fid", "--count", "2"], "fid: generated must be at least 3 samples for features of width 2"),
        (
            ["--metrics", "precision_recall", "--count", "3"],
            "precision_recall: k = 3 needs at least 4 samples of either kind, got 3 generated and 3 real",
        ),
        (
            ["--metrics", "density_coverage", "--count", "5"],
            "density_coverage: k = 5 needs at least 6 samples of either kind, got 5 generated and 5 real",
        ),
        (["--metrics", "inception_score"], "inception_score: features must come with class probabilities, got none"),
        (["--likelihood-bits", "2"], "--likelihood-bits needs diffrax: pip install 'artifex-samplers[ode]'"),
        (["--out", "{tmp}"], "--out must be a file in a folder that is there, got"),
    ],
)
def test_a_metric_that_can_not_be_is_refused_before_anything_is_drawn(
    arguments: list[str],
    says: str,
    points: Trainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    points.fit()
    capsys.readouterr()
    monkeypatch.setattr("artifex.training.run.sampling.SampleGenerator.draw", None)
    monkeypatch.setattr("artifex.training.cli.evaluate.find_spec", lambda name: None)
    given = [text.format(tmp=tmp_path) for text in arguments]
    assert points.folder is not None
    assert main(["evaluate", str(points.folder.path), "--extractor", "raw", *given]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_what_may_fail_comes_after_the_checkpoint_of_its_step(tmp_path: Path) -> None:
    config = TrainingConfig(steps=4, batch_size=4, seed=1, checkpoint=CheckpointConfig(every=2))
    before, after = list[int | None](), list[int | None]()
    with Checkpointer(tmp_path) as checkpointer:
        every = [
            Every(2, lambda state: after.append(checkpointer.latest()), after_saving=True),
            Every(2, lambda state: before.append(checkpointer.latest())),
        ]
        train(Learner(network(), OBJECTIVE, config), batches(), checkpointer=checkpointer, every=every)
    assert (before, after) == ([None, 2], [2, 4])
