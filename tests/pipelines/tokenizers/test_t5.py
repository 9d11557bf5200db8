"""Ids of T5's tokenizer against those of transformers, and of SentencePiece where a text has no special tokens."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

from artifex.backbones.interop import CheckpointError
from artifex.pipelines.tokenizers import T5Tokenizer, Tokenizer, read_tokenizer
from tests.pipelines.tokenizers.helpers.folders import GOLDEN, write_json, write_t5
from tests.pipelines.tokenizers.helpers.texts import CORPUS, T5_TEXTS

TRUTH: dict[str, Any] = json.loads((GOLDEN / "t5_ids.json").read_text())


@pytest.fixture(params=["spiece.model", "tokenizer.json"])
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> T5Tokenizer:
    write_t5(tmp_path)
    if request.param == "tokenizer.json":
        (tmp_path / "spiece.model").unlink()
        truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
        padding = {"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
        padding |= {"pad_type_id": 0, "pad_token": "<pad>"}
        saved = json.loads((GOLDEN / "t5_tokenizer.json").read_text())
        write_json(tmp_path / "tokenizer.json", {**saved, "truncation": truncation, "padding": padding})
    return T5Tokenizer.from_folder(tmp_path)


def test_ids_are_those_of_transformers(tokenizer: T5Tokenizer) -> None:
    for text, ids in zip(T5_TEXTS, TRUTH["texts"], strict=True):
        assert tokenizer.encode(text) == ids, text


def test_rows_are_those_of_transformers(tokenizer: T5Tokenizer) -> None:
    tokens = tokenizer(T5_TEXTS, length=16)
    np.testing.assert_array_equal(tokens.ids, np.array(TRUTH["rows"], np.int32))
    np.testing.assert_array_equal(tokens.mask, np.array(TRUTH["mask"], bool))


def test_special_ids_and_sizes(tokenizer: T5Tokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.begin, tokenizer.end, tokenizer.pad_id, tokenizer.max_length) == ((), (1,), 0, 512)
    assert tokenizer.vocab_size == TRUTH["vocab_size"]


def test_decoded_ids_encode_to_themselves(tokenizer: T5Tokenizer) -> None:
    text = "Two cats, three dogs <extra_id_3> over the sea </s>"
    assert tokenizer.decode(tokenizer.encode("Two cats, three dogs")) == "Two cats, three dogs"
    assert tokenizer.encode(tokenizer.decode(tokenizer.encode(text))) == tokenizer.encode(text)


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_ids_are_those_of_sentencepiece(tmp_path: Path, byte_fallback: bool) -> None:
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines() * 4),
        model_writer=out,
        vocab_size=500,
        hard_vocab_limit=False,
        byte_fallback=byte_fallback,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (tmp_path / "spiece.model").write_bytes(out.getvalue())
    truth = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    tokenizer = read_tokenizer(tmp_path)
    assert isinstance(tokenizer, T5Tokenizer)
    for text in (*(text for text in T5_TEXTS if "<" not in text), "½ ﷺ １２ Ａ\u0308"):
        ids = truth.encode(text)
        assert tokenizer.encode(text) == ids, text
        assert tokenizer.decode(ids) == truth.decode(ids) or truth.unk_id() in ids
    assert tokenizer.vocab_size == truth.vocab_size() + 100
    assert tokenizer.encode("<extra_id_0><extra_id_99>") == [truth.vocab_size() + 99, truth.vocab_size()]


def test_listed_ids_come_first(tmp_path: Path) -> None:
    contents = {0: "<pad>", 1: "</s>", 2: "<unk>", 300: "<extra_id_1>", 301: "<extra_id_0>", 302: "<x", 303: "<x>"}
    write_t5(
        tmp_path,
        extra_ids=2,
        additional_special_tokens=["<extra_id_0>", "<extra_id_1>"],
        added_tokens_decoder={str(index): {"content": content} for index, content in contents.items()},
    )
    tokenizer = T5Tokenizer.from_folder(tmp_path)
    assert tokenizer.encode("<extra_id_0> <extra_id_1>") == [301, 300]
    assert tokenizer.encode("<x><x") == [303, 302]
    assert tokenizer.vocab_size == 304


def test_missing_and_broken_files(tmp_path: Path) -> None:
    write_t5(tmp_path)
    path = tmp_path / "spiece.model"
    content = path.read_bytes()
    for broken in (b"", content[:500], b"no model"):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"spiece\.model") as caught:
            read_tokenizer(tmp_path)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no file spiece.model and no file tokenizer.json in"):
        read_tokenizer(tmp_path)
    write_json(tmp_path / "tokenizer.json", {"model": {}})
    with pytest.raises(CheckpointError, match=r"tokenizer.json is no tokenizer") as caught:
        read_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_special_token_without_an_id(tmp_path: Path) -> None:
    write_t5(tmp_path, pad_token="<padding>")
    with pytest.raises(CheckpointError, match=r"pad_token in .* must be a token of the vocabulary, got '<padding>'"):
        read_tokenizer(tmp_path)
