import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import artifex.training
from artifex.command.app import main
from artifex.training.cli import demo
from tests.training.helpers.tiny import demo_config, demo_trainer

ROOT = Path(__file__).parents[3]
RESULTS = {
    "samples.png",
    "samples.npz",
    "denoising.png",
    "loss.png",
    "metrics.json",
    "metrics.jsonl",
    "config.yaml",
    "checkpoint",
}

RUN = """
import sys
import artifex.training.cli.demo as demo
from artifex.command.app import main
from tests.training.helpers.tiny import demo_config, demo_trainer

class Telling(demo.Bar):
    def __call__(self, report):
        if report.step == 20:
            print("begun", flush=True)

demo.make_config, demo.make_trainer, demo.Bar = demo_config, demo_trainer, Telling
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The demo with a network that trains in no time, in an empty folder."""
    monkeypatch.setattr(demo, "make_trainer", demo_trainer)
    monkeypatch.setattr(demo, "make_config", demo_config)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", "--steps", "0"], "--steps must be a whole number in [1, 1000000], got '0'"),
        (["demo", "--steps", "-3"], "--steps must be a whole number in [1, 1000000], got '-3'"),
        (["demo", "--steps", "1000001"], "--steps must be a whole number in [1, 1000000], got '1000001'"),
        (["demo", "--steps", "many"], "--steps must be a whole number in [1, 1000000], got 'many'"),
        (["demo", "--steps", "2.5"], "--steps must be a whole number in [1, 1000000], got '2.5'"),
        (["demo", "--steps", "1\n2"], "--steps must be a whole number in [1, 1000000], got '1\\n2'"),
        (["demo", "--steps"], "Option '--steps' requires an argument"),
        (["demo", "--seed", "-1"], "--seed must be a whole number in [0, 4294967295], got '-1'"),
        (["demo", "--seed", "4294967296"], "--seed must be a whole number in [0, 4294967295], got '4294967296'"),
        (["demo", "--sed", "1"], "No such option: --sed; expected --out DIR, --seed N, --steps N, --resume"),
        (["demo", "now"], "unexpected extra argument(s) (now); expected --out DIR, --seed N, --steps N, --resume"),
        (
            ["trian"],
            "No such command 'trian'. Did you mean 'train'?; expected generate, demo, train, info, sample, evaluate, "
            "convert, bench",
        ),
        (
            ["--verbose"],
            "No such option: --verbose; expected generate, demo, train, info, sample, evaluate, convert, bench, "
            "--version",
        ),
        (["demo", "--out", ""], "--out must be a folder, got ''"),
        (["demo", "--out", "a file"], "--out must be a folder, got a file, a file"),
        (["demo", "--out", "a file/b/c"], "--out must be a folder, got a file/b/c, inside a file: a file"),
        (["demo", "--out", "two\nlines"], "--out must be a folder, got two lines, a file"),
        (["demo", "--out", "odd"], "odd/samples.png must be a file that can be replaced, got a folder"),
        (["demo", "--out", "even"], "even/checkpoint must be a folder, got a file"),
        (
            ["demo", "--resume"],
            "--resume expects the checkpoint of an earlier run in artifex-demo/checkpoint, got none",
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tiny: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (tiny / "a file").write_text("x")
    (tiny / "two\nlines").write_text("x")
    (tiny / "odd" / "samples.png").mkdir(parents=True)
    (tiny / "even").mkdir()
    (tiny / "even" / "checkpoint").write_text("x")
    before = tree(tiny)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("artifex: ")
    assert err.count("\n") == 1
    assert says in err
    assert tree(tiny) == before


def test_a_folder_that_refuses_writing_is_named_and_nothing_is_left(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("artifex.command.folder.tempfile.TemporaryFile", refuse)
    assert main(["demo", "--out", "new/deep"]) == 2
    says = "artifex: --out must be a folder that can be written to, got new/deep: permission denied\n"
    assert capsys.readouterr().err == says
    assert tree(tiny) == {}


@pytest.mark.slow
def test_the_demo_writes_what_it_says_and_one_seed_is_one_result(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--steps", "6", "--out", "one"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "one/samples.png" in out
    assert out.splitlines()[-1] == "  artifex demo --seed 1 --out one-1"
    assert {path.name for path in (tiny / "one").iterdir()} == RESULTS

    with np.load("one/samples.npz") as stored:
        images, labels = stored["images"], stored["labels"]
    assert (images.shape, images.dtype) == ((100, 8, 8, 1), np.float32)
    assert np.abs(images).max() <= 1
    assert np.array_equal(labels, np.repeat(np.arange(10), 10))
    for name in ("samples.png", "denoising.png", "loss.png"):
        with Image.open(tiny / "one" / name) as picture:
            assert min(picture.size) > 200

    metrics = json.loads((tiny / "one" / "metrics.json").read_text())
    assert (metrics["steps"], metrics["seed"]) == (6, 0)
    assert metrics["parameters"] == 11 * 16 + 65 * 16 + 16 + 16 * 64 + 64
    assert 0 <= metrics["recognized"] <= 1
    assert 0 <= metrics["near_copies"] <= 1
    assert metrics["loss"] > 0
    assert metrics["seconds_training"] > 0

    assert main(["demo", "--steps", "6", "--out", "two"]) == 0
    for name in RESULTS - {"metrics.json", "metrics.jsonl", "checkpoint"}:
        assert (tiny / "one" / name).read_bytes() == (tiny / "two" / name).read_bytes()


@pytest.mark.slow
def test_ctrl_c_keeps_a_whole_checkpoint_that_resumes_to_the_same_bits(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, out = 2000, tiny / "run"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, "demo", "--steps", str(steps), "--out", str(out)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    child.send_signal(signal.SIGINT)
    printed, complained = child.communicate(timeout=120)
    assert (child.returncode, printed) == (130, "")
    assert complained.count("\n") == 1
    assert f"of {steps} is saved. Continue with: artifex demo --out {out} --resume" in complained
    assert {path.name for path in out.iterdir()} == {"config.yaml", "metrics.jsonl", "checkpoint"}

    for name, value, expected in (("--steps", "7", steps), ("--seed", "5", 0)):
        before = tree(out)
        assert main(["demo", "--out", str(out), "--resume", name, value]) == 2
        assert (
            f"{name} must be {expected}, as in the run to resume, or left out; got {value}" in capsys.readouterr().err
        )
        assert tree(out) == before

    assert main(["demo", "--out", str(out), "--resume"]) == 0
    assert main(["demo", "--out", str(tiny / "whole"), "--steps", str(steps)]) == 0
    assert (out / "samples.npz").read_bytes() == (tiny / "whole" / "samples.npz").read_bytes()
    assert (out / "loss.png").read_bytes() == (tiny / "whole" / "loss.png").read_bytes()


@pytest.mark.slow
def test_help_and_version_do_not_wait_for_jax() -> None:
    code = (
        "import sys; from artifex.command.app import main; "
        "codes = [main(a) for a in ([], ['--help'], ['demo', '--help'], ['--version'])]; "
        "slow = {'jax', 'numpy', 'flax', 'matplotlib', 'sklearn', 'orbax'} & sys.modules.keys(); "
        "sys.exit(f'{codes} {slow}' if any(codes) or slow else 0)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert child.stderr == ""
    assert child.returncode == 0
    for word in ("--out", "--seed", "--steps", "--resume", "artifex 0."):
        assert word in child.stdout


def test_every_public_name_is_there() -> None:
    assert all(getattr(artifex.training, name).__name__ == name for name in artifex.training.__all__)
    assert set(artifex.training.__all__) <= set(dir(artifex.training))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        artifex.training.nothing  # noqa: B018
