"""The command ``artifex generate``: what it writes, its text, and its bad input."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artifex.command.app import main
from artifex.pipelines import Pipeline, contact_sheet

Folders = Callable[[str], Path]
Read = Callable[[str], Pipeline]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.slow
def test_pictures_are_those_of_the_pipeline(
    folders: Folders, read: Read, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pictures"
    words = ["a light", "--negative", "the house", "--count", "2", "--steps", "2", "--seed", "7", "--size", "48x32"]
    more = ["--guidance", "3", "--sampler", "euler", "--out", str(out)]
    assert main(["generate", str(folders("sd")), *words, *more]) == 0
    printed = capsys.readouterr()
    files = [out / "a-light-7.png", out / "a-light-8.png", out / "sheet.png"]
    assert printed.out.splitlines()[1:] == [str(file) for file in files]
    assert printed.err == ""
    options: dict[str, Any] = {"negative": "the house", "steps": 2, "size": (32, 48), "guidance": 3.0}
    expected = read("sd")("a light", count=2, seed=7, sampler="euler", **options)
    for file, picture in zip(files, [*expected, contact_sheet(expected)], strict=True):
        assert np.array_equal(pixels(file), np.asarray(picture))
    with Image.open(files[1]) as picture:
        text = json.loads(str(picture.info["artifex"]))
    assert text == {
        "prompt": "a light", "negative": "the house", "sampler": "euler", "guidance": 3.0, "size": [32, 48],
        "steps": 2, "count": 1, "seed": 8, "version": version("artifex-pipelines"),
    }  # fmt: skip


@pytest.mark.slow
def test_prompts_of_a_file_and_long_ones(folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "prompts.txt", tmp_path / "out"
    file.write_text(f"the house\n\n  {'light ' * 90}\n")
    arguments = ["generate", str(folders("sd")), "--prompts", str(file), "--steps", "1", "--out", str(out)]
    assert main(arguments) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["000-the-house-0.png", f"001-{'light-' * 6}ligh-0.png", "sheet.png"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "artifex: the prompt is longer than the 77 tokens of text_encoder, which does not read 'light"
    )


@pytest.mark.slow
def test_an_image_is_changed_and_classes_are_drawn(folders: Folders, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.new("RGB", (32, 32), "navy").save(image)
    changed = ["generate", str(folders("sd")), "a light", "--image", str(image), "--strength", "0.5", "--steps", "2"]
    assert main([*changed, "--out", str(tmp_path / "changed")]) == 0
    assert pixels(tmp_path / "changed" / "a-light-0.png").shape == (32, 32, 3)
    assert main(["generate", str(folders("dit")), "cat", "--steps", "1", "--out", str(tmp_path / "cat")]) == 0
    assert main(["generate", str(folders("dit")), "3", "--steps", "1", "--out", str(tmp_path / "three")]) == 0
    assert np.array_equal(pixels(tmp_path / "cat" / "cat-0.png"), pixels(tmp_path / "three" / "3-0.png"))
    assert main(["generate", str(folders("ddpm")), "--steps", "1", "--out", str(tmp_path / "none")]) == 0
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["picture-0.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--size", "64"], "--size must be WIDTHxHEIGHT, as 768x512, got '64'"),
        (["a", "--size", "33x32"], "width must be a positive multiple of 2, got 33"),
        (["a", "--strength", "1.5"], r"--strength must be a number in [0, 1], got '1.5'"),
        (["a", "--strength", "0.5"], "strength needs an image to begin from, got none"),
        (["a", "--mask", "none.png"], "mask needs an image to paint over, got none"),
        (["a", "--image", "none.png"], "no picture none.png"),
        (["a", "--sampler", "best"], "sampler must be one of ddim, ddpm, "),
        (["a", "--grid", "best"], "grid must be one of leading, linspace, "),
        (["a", "--dtype", "int8"], "--dtype must be one of float32, bfloat16, float16, got 'int8'"),
        (["a", "--prediction", "x0"], "--prediction must be one of epsilon, v, got 'x0'"),
        (["a", "--prediction", "v"], "tokenizer and prediction are those of a single file, got the folder "),
        (["a", "--variant", "fp16"], "no diffusion_pytorch_model.fp16.safetensors"),
        (["a", "--image-guidance", "2"], "options must be among "),
        (["a", "--prompts", "file"], "PROMPT and --prompts exclude each other; give one of them"),
        ([], "prompt must be a text, got None"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    folders: Folders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["generate", str(folders("sd")), *arguments]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_folders_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, without a network."""
    script = "import sys; from artifex.command.app import main; sys.exit(main(sys.argv[1:]))"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for folder, message in (
        ("nowhere", "no folder nowhere; a name on the Hub is owner/name"),
        ("owner/name", "no folder owner/name, and owner/name could not be downloaded: "),
        (str(tmp_path), f"no file {tmp_path / 'model_index.json'}"),
    ):
        command = [sys.executable, "-c", script, "generate", folder, "a light"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"artifex: {message}")
    assert not list(tmp_path.iterdir())
