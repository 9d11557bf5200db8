"""The choice of a tokenizer by its folder."""

import shutil
from pathlib import Path

import pytest

from artifex.backbones.interop import CheckpointError
from artifex.pipelines.tokenizers import CLIPTokenizer, T5Tokenizer, read_tokenizer
from tests.pipelines.tokenizers.helpers.folders import GOLDEN, TINY, write_clip, write_clip_json, write_json, write_t5


@pytest.mark.parametrize(
    ("name", "expected"),
    [("CLIPTokenizer", CLIPTokenizer), ("CLIPTokenizerFast", CLIPTokenizer), (None, CLIPTokenizer)],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_clip(tmp_path: Path, form: str, name: str | None, expected: type) -> None:
    (write_clip if form == "text" else write_clip_json)(tmp_path, vocabulary=TINY)
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": name})
    assert isinstance(read_tokenizer(tmp_path), expected)


@pytest.mark.parametrize("name", ["T5Tokenizer", "T5TokenizerFast", None])
@pytest.mark.parametrize("form", ["spiece", "json"])
def test_t5(tmp_path: Path, form: str, name: str | None) -> None:
    write_t5(tmp_path, tokenizer_class=name)
    if form == "json":
        (tmp_path / "spiece.model").unlink()
        shutil.copy(GOLDEN / "t5_tokenizer.json", tmp_path / "tokenizer.json")
    assert isinstance(read_tokenizer(str(tmp_path)), T5Tokenizer)


def test_a_folder_without_settings(tmp_path: Path) -> None:
    write_t5(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    tokenizer = read_tokenizer(tmp_path)
    assert (tokenizer.pad_id, tokenizer.end, tokenizer.max_length) == (0, (1,), 512)


def test_unknown_classes(tmp_path: Path) -> None:
    known = "CLIPTokenizer, CLIPTokenizerFast, T5Tokenizer, T5TokenizerFast"
    for value, shown in (("LlamaTokenizer", "'LlamaTokenizer'"), (3, "3")):
        write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": value})
        with pytest.raises(CheckpointError, match=f"must be one of {known}; got {shown}$"):
            read_tokenizer(tmp_path)


def test_missing_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no folder .*absent"):
        read_tokenizer(tmp_path / "absent")
    with pytest.raises(CheckpointError, match=r"no tokenizer.json, vocab.json or spiece.model in"):
        read_tokenizer(tmp_path)
