"""Pipelines of single files against those of folders with the same networks."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from artifex.backbones import interop
from artifex.backbones.interop import CheckpointError
from artifex.pipelines import StableDiffusionXL, load_pipeline
from tests.backbones.helpers.original_file import tensors, write_file, write_folder
from tests.pipelines.tokenizers.helpers.folders import Vocabulary, write_clip

pytestmark = pytest.mark.slow

TOKENS = ("!", "!</w>", "t", "h", "e</w>", "h</w>", "t</w>", "th", "the</w>")
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
WORDS: Vocabulary = (
    {**{token: i for i, token in enumerate(TOKENS)}, SPECIAL[0]: 58, SPECIAL[1]: 59},
    ("t h", "th e</w>"),
)
PROMPT = "the t! th"


def write_tokenizer(folder: Path, pad: str = SPECIAL[1]) -> Path:
    """A tokenizer for texts of seven tokens."""
    write_clip(folder, pad=pad, vocabulary=WORDS)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 7}))
    return folder


def whole_folder(name: str, folder: Path, path: Path, **index: object) -> Path:
    """The folder of a pipeline with tokenizers like published ones, and the scheduler of the file at ``path``."""
    write_folder(name, folder)
    write_tokenizer(folder / "tokenizer", "!" if name == "sd2" else SPECIAL[1])
    write_tokenizer(folder / "tokenizer_2", "!")
    scheduler = interop.load_single_file(path).scheduler
    assert scheduler is not None
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    fields = json.loads((folder / "model_index.json").read_text()) | index
    fields["scheduler"] = ["diffusers", scheduler["_class_name"]]
    (folder / "model_index.json").write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("sd1", {}),
        ("sd2", {}),
        ("sdxl", {"force_zeros_for_empty_prompt": True}),
        ("refiner", {"force_zeros_for_empty_prompt": False}),
    ],
)
def test_prompts_are_encoded_as_with_the_folder(name: str, index: dict[str, object], tmp_path: Path) -> None:
    path = write_file(tmp_path, tensors(name))
    folder = load_pipeline(whole_folder(name, tmp_path / "folder", path, **index))
    file = load_pipeline(path, tokenizer=write_tokenizer(tmp_path / "tokenizer"))
    assert type(file) is type(folder)
    assert file.walk.scheduler.prediction == folder.walk.scheduler.prediction
    if isinstance(file, StableDiffusionXL) and isinstance(folder, StableDiffusionXL):
        assert (file.zeros_for_empty, file.takes_score) == (folder.zeros_for_empty, folder.takes_score)
    one, two = (pipe.encode([PROMPT, "!"]).pairs for pipe in (file, folder))
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


def test_latents_are_those_of_the_folder(tmp_path: Path) -> None:
    path = write_file(tmp_path, tensors("sd1"))
    folder = load_pipeline(whole_folder("sd1", tmp_path / "folder", path))
    file = load_pipeline(path, tokenizer=write_tokenizer(tmp_path / "tokenizer"))
    one, two = (pipe.latents(PROMPT, steps=2, size=(8, 8), seed=3) for pipe in (file, folder))
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_bad_input(tmp_path: Path) -> None:
    path = write_file(tmp_path, tensors("sd1"))
    with pytest.raises(CheckpointError, match=r"holds no tokenizer: pass tokenizer=FOLDER .*clip-vit-large-patch14"):
        load_pipeline(path)
    with pytest.raises(CheckpointError, match=r"must pad with its end token, 59, got 0$"):
        load_pipeline(path, tokenizer=write_tokenizer(tmp_path / "other", "!"))
    with pytest.raises(CheckpointError, match=r"^no folder .*nowhere$"):
        load_pipeline(path, tokenizer=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"those of a single file, got the folder .*, which has both$"):
        load_pipeline(write_folder("sd1", tmp_path / "folder"), tokenizer=tmp_path)
    alone = {key: value for key, value in tensors("sd1").items() if key.startswith("first_stage_model.")}
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    with pytest.raises(CheckpointError, match=r"got AutoencoderKL$"):
        load_pipeline(write_file(tmp_path, alone), tokenizer=tokenizer)
    without = {key: value for key, value in tensors("sd1").items() if not key.startswith("first_stage_model.")}
    with pytest.raises(CheckpointError, match=r"has no vae, expected one in the file$"):
        load_pipeline(write_file(tmp_path, without), tokenizer=tokenizer)
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is a pickle"):
        load_pipeline(tmp_path / "model.ckpt")
