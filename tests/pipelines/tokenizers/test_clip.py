"""Ids of CLIP's real vocabulary against those of transformers and OpenCLIP."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifex.backbones.interop import CheckpointError
from artifex.pipelines.tokenizers import CLIPTokenizer, Tokenizer, read_tokenizer
from tests.pipelines.tokenizers.helpers.folders import GOLDEN, TINY, write_clip, write_clip_json, write_json
from tests.pipelines.tokenizers.helpers.texts import CLIP_TEXTS

TRUTH: dict[str, Any] = json.loads((GOLDEN / "clip_ids.json").read_text())
PADS = ("<|endoftext|>", "!")
# OpenCLIP mends the first three kinds, lower-cases the last letter of a Greek word otherwise, and has other special
# tokens.
DIFFERENT = ("entities", "mojibake", "mended", "final sigma", "special")


@pytest.fixture(scope="module", params=[(pad, form) for pad in PADS for form in ("text", "json")], ids=" ".join)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[CLIPTokenizer, Any]:
    pad, form = request.param
    folder = tmp_path_factory.mktemp("clip")
    (write_clip if form == "text" else write_clip_json)(folder, pad=pad)
    return CLIPTokenizer.from_folder(folder), TRUTH[pad]


@pytest.mark.parametrize("kind", CLIP_TEXTS)
def test_ids_are_those_of_transformers(case: tuple[CLIPTokenizer, Any], kind: str) -> None:
    tokenizer, truth = case
    for text, ids in zip(CLIP_TEXTS[kind], truth["texts"][kind], strict=True):
        assert tokenizer.encode(text) == ids, text


def test_special_ids_and_sizes(case: tuple[CLIPTokenizer, Any]) -> None:
    tokenizer, truth = case
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.begin, tokenizer.end, tokenizer.max_length) == ((49406,), (49407,), 77)
    assert (tokenizer.pad_id, tokenizer.vocab_size) == (truth["pad_id"], truth["vocab_size"])


@pytest.mark.parametrize("kind", ["empty", "long"])
def test_rows_are_those_of_transformers(case: tuple[CLIPTokenizer, Any], kind: str) -> None:
    tokenizer, truth = case
    tokens = tokenizer(CLIP_TEXTS[kind])
    np.testing.assert_array_equal(tokens.ids, np.array(truth["rows"][kind], np.int32))
    lengths = [min(len(ids) + 2, 77) for ids in truth["texts"][kind]]
    assert tokens.mask.sum(1).tolist() == lengths
    assert not (np.diff(tokens.mask.astype(int)) > 0).any()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder)
    return CLIPTokenizer.from_folder(folder)


@pytest.mark.parametrize("kind", [kind for kind in CLIP_TEXTS if kind not in DIFFERENT])
def test_ids_are_those_of_open_clip(tokenizer: CLIPTokenizer, kind: str) -> None:
    for text, ids in zip(CLIP_TEXTS[kind], TRUTH["open_clip"][kind], strict=True):
        assert tokenizer.encode(text) == ids, text


def test_a_length(tokenizer: CLIPTokenizer) -> None:
    tokens = tokenizer(["a cat", "one two three four five"], length=5)
    begin, end = 49406, 49407
    one = tokenizer.encode("one two three")
    np.testing.assert_array_equal(tokens.ids, [[begin, *tokenizer.encode("a cat"), end, end], [begin, *one, end]])
    np.testing.assert_array_equal(tokens.mask, [[True] * 4 + [False], [True] * 5])
    assert tokenizer([], length=5).ids.shape == (0, 5)
    assert tokenizer(["a cat"], length=2).ids.tolist() == [[begin, end]]


def test_bad_calls(tokenizer: CLIPTokenizer) -> None:
    with pytest.raises(TypeError, match="texts must be a sequence of strings, got the string 'a cat'"):
        tokenizer("a cat")
    with pytest.raises(ValueError, match="length must be at least 2, for the special ids, got 1"):
        tokenizer(["a cat"], length=1)


@pytest.mark.parametrize("text", ["a photo of 2 cats, don't", "café 猫 🐱", "", "a  B\tc", "a <|endoftext|>"])
def test_decoded_ids_encode_to_themselves(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.encode(tokenizer.decode(ids)) == ids
    assert tokenizer.decode(ids).replace(" ", "") == "".join(text.lower().split())


def test_open_clip_differs_on_every_other_kind() -> None:
    for kind in DIFFERENT:
        assert TRUTH["open_clip"][kind] != TRUTH["<|endoftext|>"]["texts"][kind]


def test_tokens_that_were_added(tmp_path: Path) -> None:
    write_clip(tmp_path, vocabulary=TINY)
    write_json(tmp_path / "added_tokens.json", {"<Sks>": 9, "<cat-toy>": 8, "<a b>": 10})
    tokenizer = CLIPTokenizer.from_folder(tmp_path)
    the, h = 5, 3
    assert tokenizer.encode("the H <cat-toy>") == [the, h, 8]
    assert tokenizer.encode("THE<SKS>") == [the, 9]
    assert tokenizer.encode("<a\t b>") == [10]
    assert tokenizer.vocab_size == 11


def broken_folders() -> dict[str, tuple[str, object, str]]:
    table, _ = TINY
    without = {token: index for token, index in table.items() if token != "the</w>"}
    twice = {**table, "the</w>": 4}
    return {
        "no vocab": ("vocab.json", None, "no file .*vocab.json"),
        "no merges": ("merges.txt", None, "no file .*merges.txt"),
        "list": ("vocab.json", "[]", "must hold a JSON object, got list"),
        "text ids": ("vocab.json", '{"a": "b"}', "must map tokens to ids"),
        "no end": ("vocab.json", '{"a": 0}', r"must hold '<\|endoftext\|>', got 1 other tokens"),
        "no token": ("vocab.json", json.dumps(without), "must hold 'the</w>'"),
        "same id": ("vocab.json", json.dumps(twice), "two tokens with the same id"),
        "three": ("merges.txt", "#version: 0.2\na b c\n", "must be of two tokens, got 'a b c'"),
        "bytes": ("merges.txt", b"\xff\xfe\x00", "merges.txt is no text"),
        "cut": ("tokenizer_config.json", '{"pad_token": ', "tokenizer_config.json is no JSON"),
        "left": ("tokenizer_config.json", '{"padding_side": "left"}', "padding_side in .* must be 'right', got 'left'"),
        "length": ("tokenizer_config.json", '{"model_max_length": "77"}', "must be a positive integer, got '77'"),
        "token": ("special_tokens_map.json", '{"pad_token": 3}', "pad_token must hold JSON objects, got 3"),
        "content": ("special_tokens_map.json", '{"pad_token": {}}', "must have a string as content, got None"),
        "gap": ("added_tokens.json", '{"<x>": 50000}', "list '<x>' as 50000, the vocabulary as 8"),
        "negative": ("added_tokens.json", '{"<x>": -1}', "must be a non-negative integer, got -1"),
        "no bpe": ("tokenizer.json", '{"model": {"vocab": {}}}', "must be of byte pairs, with vocab and merges"),
        "unigram": ("tokenizer.json", '{"model": {"vocab": [["a", 0.0]], "merges": []}}', "must map tokens to ids"),
    }


@pytest.mark.parametrize("name", broken_folders())
def test_broken_folders(tmp_path: Path, name: str) -> None:
    write_clip(tmp_path, vocabulary=TINY)
    file, content, message = broken_folders()[name]
    (tmp_path / file).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else str(content).encode())
    with pytest.raises(CheckpointError, match=message) as caught:
        read_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_limit_is_that_of_clip(tmp_path: Path) -> None:
    write_clip(tmp_path, vocabulary=TINY)
    write_json(tmp_path / "tokenizer_config.json", {"model_max_length": 1000000000000000019884624838656})
    assert CLIPTokenizer.from_folder(tmp_path).max_length == 77
