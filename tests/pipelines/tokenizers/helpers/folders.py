"""Folders of tokenizers as transformers writes them."""

import gzip
import json
import shutil
from functools import cache
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"
Json = dict[str, object]
Vocabulary = tuple[dict[str, int], tuple[str, ...]]
_TOKENS = ("t", "h", "e</w>", "h</w>", "th", "the</w>", "<|startoftext|>", "<|endoftext|>")
TINY: Vocabulary = ({token: index for index, token in enumerate(_TOKENS)}, ("t h", "th e</w>"))


def _alphabet() -> list[str]:
    """The characters that stand for the 256 bytes: printable ones for themselves; from 256 on for the others, last."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, printable), *(chr(256 + i) for i in range(256 - len(printable)))]


@cache
def clip_vocabulary() -> Vocabulary:
    """CLIP's vocabulary, which its merges determine, and the merges."""
    merges = tuple(gzip.decompress((GOLDEN / "clip_merges.txt.gz").read_bytes()).decode().split("\n"))
    letters = _alphabet()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, merges


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _flagged(content: str, **flags: bool) -> Json:
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, **flags}


def write_clip(folder: Path, *, pad: str = "<|endoftext|>", vocabulary: Vocabulary | None = None) -> None:
    """Write the four files of Stable Diffusion's tokenizers."""
    table, merges = vocabulary or clip_vocabulary()
    folder.mkdir(exist_ok=True)
    write_json(folder / "vocab.json", table)
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *merges, "")), encoding="utf-8")
    begin, end = _flagged("<|startoftext|>"), _flagged("<|endoftext|>")
    named: Json = {"bos_token": begin, "eos_token": end, "unk_token": end, "pad_token": pad}
    write_json(folder / "special_tokens_map.json", named)
    config: Json = {name: {"__type": "AddedToken", **token} for name, token in named.items() if isinstance(token, dict)}
    config |= {"pad_token": pad, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    write_json(folder / "tokenizer_config.json", config)


def write_clip_json(folder: Path, *, pad: str = "<|endoftext|>", vocabulary: Vocabulary | None = None) -> None:
    """Write the two files that transformers 5 writes for the tokenizers of ``write_clip``."""
    table, merges = vocabulary or clip_vocabulary()
    folder.mkdir(exist_ok=True)
    flags = {"<|startoftext|>": True, "<|endoftext|>": pad != "<|endoftext|>", pad: False}
    added = [
        {"id": table[content], **_flagged(content, normalized=normalized, special=True)}
        for content, normalized in flags.items()
    ]
    model = {"type": "BPE", "vocab": table, "merges": [merge.split(" ") for merge in merges]}
    write_json(folder / "tokenizer.json", {"version": "1.0", "added_tokens": added, "model": model})
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {**names, "pad_token": pad, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    write_json(folder / "tokenizer_config.json", config)


def write_t5(folder: Path, **config: object) -> None:
    """Write the tiny model of SentencePiece and the settings of T5."""
    folder.mkdir(exist_ok=True)
    shutil.copy(GOLDEN / "spiece.model", folder)
    named = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    sentinels = [f"<extra_id_{i}>" for i in range(100)]
    fields = {**named, "extra_ids": 100, "additional_special_tokens": sentinels, "model_max_length": 512}
    write_json(folder / "tokenizer_config.json", {**fields, "tokenizer_class": "T5Tokenizer", **config})
