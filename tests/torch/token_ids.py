"""Writes ``tests/pipelines/tokenizers/golden``: CLIP's merges, a tiny model of SentencePiece, and ids of texts.

The ids are those of transformers' tokenizers, and of OpenCLIP's.

Run in an environment with ``requirements.txt``: ``python tests/torch/token_ids.py``.
"""

import contextlib
import gzip
import io
import json
import sys
import tempfile
from pathlib import Path

import open_clip
import sentencepiece
from open_clip import tokenizer as open_clip_tokenizer
from transformers import CLIPTokenizer, T5Tokenizer

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.pipelines.tokenizers.helpers.folders import GOLDEN, write_clip, write_t5
from tests.pipelines.tokenizers.helpers.texts import CLIP_TEXTS, CORPUS, RULES, T5_TEXTS

LENGTH = 77


def write_merges() -> None:
    lines = gzip.decompress(Path(open_clip_tokenizer.default_bpe()).read_bytes()).decode().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]  # as OpenAI's code reads them
    (GOLDEN / "clip_merges.txt.gz").write_bytes(gzip.compress("\n".join(merges).encode(), 9, mtime=0))


def write_pieces() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("rules.tsv").write_text(RULES)  # the model holds this name
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS.splitlines() * 4),
            model_writer=out,
            vocab_size=200,
            hard_vocab_limit=False,
            normalization_rule_tsv="rules.tsv",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    (GOLDEN / "spiece.model").write_bytes(out.getvalue())


def clip_ids() -> dict[str, object]:
    own = open_clip.SimpleTokenizer()
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        for pad in ("<|endoftext|>", "!"):
            write_clip(Path(name), pad=pad)
            tokenizer = CLIPTokenizer.from_pretrained(name)
            found[pad] = {
                "pad_id": tokenizer.pad_token_id,
                "vocab_size": len(tokenizer),
                "texts": {
                    kind: [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
                    for kind, texts in CLIP_TEXTS.items()
                },
                "rows": {
                    kind: tokenizer(
                        list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True
                    ).input_ids
                    for kind, texts in CLIP_TEXTS.items()
                    if kind in ("empty", "long")
                },
            }
    found["open_clip"] = {kind: [own.encode(text) for text in texts] for kind, texts in CLIP_TEXTS.items()}
    return found


def t5_ids() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        write_t5(Path(name))
        tokenizer = T5Tokenizer.from_pretrained(name)
        tokenizer.save_pretrained(name)
        saved = json.loads((Path(name) / "tokenizer.json").read_text())
        (GOLDEN / "t5_tokenizer.json").write_text(json.dumps(saved, ensure_ascii=False))
    return {
        "vocab_size": len(tokenizer),
        "texts": [tokenizer(text, add_special_tokens=False).input_ids for text in T5_TEXTS],
        "rows": tokenizer(list(T5_TEXTS), padding="max_length", max_length=16, truncation=True).input_ids,
        "mask": tokenizer(list(T5_TEXTS), padding="max_length", max_length=16, truncation=True).attention_mask,
    }


if __name__ == "__main__":
    write_merges()
    write_pieces()
    (GOLDEN / "clip_ids.json").write_text(json.dumps(clip_ids(), separators=(",", ":")) + "\n")
    (GOLDEN / "t5_ids.json").write_text(json.dumps(t5_ids(), separators=(",", ":")) + "\n")
    print(sum(path.stat().st_size for path in GOLDEN.iterdir()), "bytes")
