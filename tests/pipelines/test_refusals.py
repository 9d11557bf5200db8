"""Bad input: one line that names what was given and what was expected."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artifex.backbones.interop import CheckpointError
from artifex.guidance import ClassifierFree
from artifex.pipelines import Pipeline, load_pipeline
from artifex.pipelines.load import FAMILIES
from tests.pipelines.conftest import Folders
from tests.pipelines.helpers.folders import write_folder, write_part, write_tokenizer
from tests.pipelines.helpers.weights import mask, picture

pytestmark = pytest.mark.usefixtures("unhooked")
IMAGE = picture(16, 16)


def line(error: pytest.ExceptionInfo[Exception]) -> str:
    """The message, which must be one line."""
    message = str(error.value)
    assert message
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize(
    ("family", "prompt", "options", "expected"),
    [
        ("sd", "a", {"steps": 0}, r"steps must be .*1.*got 0"),
        ("sd", "a", {"count": 0}, r"count .*got 0"),
        ("sd", "a", {"batch_size": 1.5}, r"batch_size .*got 1.5"),
        ("sd", "a", {"seed": -1}, r"seed .*got -1"),
        ("sd", "a", {"seed": 2**32 - 1, "count": 2}, r"seed .*got 4294967295"),
        ("sd", "a", {"guidance": float("nan")}, r"guidance .*got nan"),
        ("sd", "a", {"rescale": 1.5}, r"rescale must .*\[0, 1\].*got 1.5"),
        ("sd", "a", {"rescale": 0.5, "guidance": ClassifierFree(2.0)}, r"rescale needs a scale as guidance"),
        ("sd", "a", {"sampler": "eular"}, r"sampler must be one of .*euler.*got 'eular'"),
        ("sd", "a", {"grid": "karas"}, r"grid must be one of .*karras.*got 'karas'"),
        ("sd", "a", {"size": (15, 16)}, r"height must be a positive multiple of 2, got 15"),
        ("sd", "a", {"size": (16, 17)}, r"width must be a positive multiple of 2, got 17"),
        ("sd", "a", {"size": (0, 16)}, r"size .*got 0"),
        ("sd", "a", {"size": (16,)}, r"size must be height and width, got \(16,\)"),
        ("sd", "a", {"size": 16}, r"size must be height and width, got 16"),
        ("xl", "a", {"crop": (1, 2, 3)}, r"crop must be top and left, got \(1, 2, 3\)"),
        ("sd", "a", {"image": IMAGE, "strength": 1.5}, r"strength must .*\[0, 1\].*got 1.5"),
        ("sd", "a", {"image": IMAGE, "strength": -0.1}, r"strength must .*got -0.1"),
        ("sd", "a", {"image": IMAGE, "strength": 0.1, "steps": 5}, r"strength must leave .*one of 5 steps, got 0.1"),
        ("sd", "a", {"image": IMAGE, "strength": 0.0}, r"strength must .*got 0.0"),
        ("sd", "a", {"strength": 0.5}, r"strength needs an image .*got none"),
        ("sd", "a", {"mask": mask(16, 16)}, r"mask needs an image .*got none"),
        ("sd", "a", {"image": IMAGE, "mask": mask(16, 24)}, r"mask must have the size of the image.*16, 16.*24, 16"),
        ("sd", "a", {"image": "/none.png"}, r"no picture /none.png"),
        ("sd", ["a", "b"], {"image": [IMAGE]}, r"image must be one for all 2 prompts or one for each, got 1"),
        ("sd", ["a", "b"], {"negative": ["c"]}, r"negative must be one for all 2 prompts or one for each, got 1"),
        ("sd", ["a", "b"], {"image": 7}, r"image must be .*got 7"),
        ("sd", "a", {"negative": 7}, r"negative must be .*got 7"),
        ("sd", "a", {"negative": [7]}, r"negative must be .*got \[7\]"),
        ("sd", [], {}, r"prompt must be one or several, got none"),
        ("sd", None, {}, r"prompt must be a text, got None"),
        ("sd", 3, {}, r"prompt must be a text, got 3"),
        ("sd", 1.5, {}, r"prompt must be .*got 1.5"),
        ("sd", "a", {"latents": np.zeros((1, 8, 9, 4), np.float32)}, r"latents must be of shape \(1, 8, 8, 4\), got"),
        ("sd", "a", {"latents": np.zeros((1, 8, 8, 4), np.float32), "count": 2}, r"latents must be of shape \(2, 8"),
        ("sd", "a", {"begin": 0.5}, r"begin = 0.5 needs latents"),
        ("sd", "a", {"begin": 0.5, "end": 0.5}, r"begin must be below end, got 0.5 and 0.5"),
        ("sd", "a", {"end": 0.1, "steps": 2}, r"must leave at least one of 2 steps, got 0.0 and 0.1"),
        ("sd", "a", {"clip_skip": 4}, r"clip_skip must be .*3.*got 4"),
        ("xl", "a", {"clip_skip": 3}, r"clip_skip must be .*2.*got 3"),
        ("sd", "a", {"tile": 6}, r"tile must be a multiple of 8 pixels, got 6"),
        ("sd", "a", {"aesthetic_score": 3.0}, r"options must be among .*got aesthetic_score"),
        ("sd", "a", {"sead": 3}, r"options must be among .*seed.*got sead"),
        ("sd", "a", {"image": IMAGE, "grid": "quadratic", "strength": 2}, r"strength must"),
        ("sd-inpaint", "a", {}, r"image and mask must be given"),
        ("sd-inpaint", "a", {"image": IMAGE}, r"image and mask must be given"),
        ("pix2pix", "a", {}, r"image must be given"),
        ("pix2pix", "a", {"image": IMAGE, "guidance": ClassifierFree(2.0)}, r"guidance must be a number"),
        ("ddpm", "a", {}, r"prompt must be None for a network without a condition, got 'a'"),
        ("ddpm", None, {"guidance": 2.0}, r"options must be among .*got guidance"),
        ("dit", 1000, {}, r"prompt must be a class in \[0, 999\].*names.*cat.*got 1000"),
        ("dit", "dog", {}, r"prompt must be a class .*got 'dog'"),
        ("dit", True, {}, r"prompt must be a class .*got True"),
        ("dit", None, {}, r"prompt must be a class .*got None"),
    ],
)  # fmt: skip
def test_calls(
    family: str,
    prompt: Any,  # noqa: ANN401
    options: dict[str, Any],
    expected: str,
    read: Callable[[str], Pipeline],
) -> None:
    pipe = read(family)
    before = pipe.walk._program.count
    with pytest.raises((ValueError, OSError)) as error:
        pipe(prompt, **options)
    assert re.search(expected, line(error)), str(error.value)
    assert pipe.walk._program.count == before


@pytest.mark.slow
def test_an_empty_prompt_is_fine(read: Callable[[str], Pipeline]) -> None:
    (drawn,) = read("sd")("", steps=1)
    assert drawn.size == (16, 16)


@pytest.fixture
def copied(folders: Folders, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a folder, to be broken."""
    return lambda name: Path(shutil.copytree(folders(name), tmp_path / name))


def refused(folder: Path, expected: str, **options: Any) -> None:  # noqa: ANN401
    with pytest.raises(CheckpointError) as error:
        load_pipeline(folder, **options)
    assert re.search(expected, line(error)), str(error.value)


@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("unet", "sd"),
        ("vae", "sd"),
        ("text_encoder", "sd"),
        ("tokenizer", "sd"),
        ("tokenizer_2", "xl"),
        ("scheduler", "sd"),
    ],
)
def test_a_missing_folder(component: str, name: str, copied: Callable[[str], Path]) -> None:
    folder = copied(name)
    shutil.rmtree(folder / component)
    refused(folder, component)


@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("unet", "sd"),
        ("vae", "sd"),
        ("text_encoder", "sd"),
        ("text_encoder_2", "xl"),
        ("scheduler", "sd"),
        ("transformer", "dit"),
    ],
)
def test_a_component_that_the_index_lacks(component: str, name: str, copied: Callable[[str], Path]) -> None:
    folder = copied(name)
    index = json.loads((folder / "model_index.json").read_text())
    index[component] = [None, None]
    (folder / "model_index.json").write_text(json.dumps(index))
    refused(folder, f"has no {component}|last text encoder|the text encoders must")


def test_an_unknown_class(copied: Callable[[str], Path]) -> None:
    folder = copied("sd")
    index = json.loads((folder / "model_index.json").read_text())
    for kind in ("FluxPipeline", None, 3):
        (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": kind}))
        with pytest.raises(CheckpointError) as error:
            load_pipeline(folder)
        message = str(error.value)
        assert "\n" not in message
        assert repr(kind) in message
        assert all(name in message for name in FAMILIES)


def test_a_tokenizer_of_another_size(copied: Callable[[str], Path]) -> None:
    folder = copied("sd")
    vocab = json.loads((folder / "tokenizer" / "vocab.json").read_text())
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps({**vocab, "more": len(vocab)}))
    size = len(vocab)
    refused(folder, rf"tokenizer of text_encoder has {size + 1} tokens, expected at most .*{size}")


def test_a_tokenizer_of_longer_texts(copied: Callable[[str], Path]) -> None:
    folder = copied("sd")
    shutil.rmtree(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer", length=80)
    refused(folder, r"makes 80 tokens of a text, expected at most the encoder's 77")


@pytest.mark.parametrize(
    ("name", "component", "part", "expected"),
    [
        ("sd", "text_encoder", "clip-2", r"text_encoder must give vectors of length 16, .*got 12"),
        ("sd", "unet", "unet-8", r"must take 4 channels, or 9 with mask and picture, got 8"),
        ("pix2pix", "unet", "unet", r"unet must take 8 channels, got 4"),
        ("xl", "text_encoder", "clip-2", r"the text encoders must give vectors of length 28, .*got 24"),
        ("xl", "unet", "unet-refiner", r"the text encoders must give vectors of length 12, .*got 28"),
        ("xl", "text_encoder_2", "clip", r"text_encoder_2: tensors are missing: text_projection.weight"),
        ("dit", "vae", "unet", r"vae in .* must be an AutoencoderKL, got UNetConditional"),
    ],
)
def test_parts_that_do_not_fit(
    name: str, component: str, part: str, expected: str, copied: Callable[[str], Path]
) -> None:
    folder = copied(name)
    shutil.rmtree(folder / component)
    write_part(folder / component, part)
    if component == "vae":
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps({**index, "vae": ["diffusers", "UNet2DConditionModel"]}))
    refused(folder, expected)


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none", r"no folder .*none")
    refused(tmp_path, r"model_index.json")


def test_the_whole_folder_is_read_before_anything(tmp_path: Path) -> None:
    """Loading writes nothing into the folder."""
    folder = write_folder(tmp_path, "dit")
    before = sorted(folder.rglob("*"))
    load_pipeline(folder)
    assert sorted(folder.rglob("*")) == before


def test_pictures_are_not_half_written(read: Callable[[str], Pipeline]) -> None:
    """Of several pictures one of which can't be read nothing is drawn."""
    pipe = read("sd")
    done: list[int] = []
    images: list[Any] = [Image.new("RGB", (16, 16)), "/none.png"]
    with pytest.raises(OSError, match="no picture"):
        pipe(["a", "b"], image=images, progress=done.append)
    assert done == []
