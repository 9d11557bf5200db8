"""The tokenizer of T5 and UMT5."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import tokenizers
from sentencepiece import SentencePieceProcessor

from artifex.backbones.interop import CheckpointError
from artifex.pipelines.tokenizers.base import Tokens, tokenize
from artifex.pipelines.tokenizers.settings import Settings, read_settings

MAX_LENGTH: Final = 512
SPECIAL: Final = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


@dataclass(frozen=True, eq=False)
class T5Tokenizer:
    """SentencePiece with a unigram model; special tokens in a text are recognized, as in transformers.

    The text on either side of a special token is encoded by itself.

    Attributes:
        model: SentencePiece's model, or the tokenizer that a ``tokenizer.json`` holds.
        special: The ids of the special tokens and of the sentinels ``<extra_id_0>``, ..., which SentencePiece's model
            does not recognize; none for a ``tokenizer.json``.
        max_length: The length of a row of ids, 512 by default.
        pad_id: The id of ``<pad>``.
        vocab_size: One more than the largest id.
        end: The id of ``</s>``.

    References: Raffel et al. 2020, https://arxiv.org/abs/1910.10683; Kudo 2018, https://arxiv.org/abs/1804.10959
    """

    model: SentencePieceProcessor | tokenizers.Tokenizer
    special: Mapping[str, int]
    max_length: int
    pad_id: int
    vocab_size: int
    end: tuple[int, ...]

    @classmethod
    def from_folder(cls, folder: str | Path) -> "T5Tokenizer":
        """Read ``spiece.model``, or ``tokenizer.json`` without it, and the settings beside it.

        Raises:
            CheckpointError: If a file is missing or broken, or if a special token has no id.
        """
        folder = Path(folder)
        settings = read_settings(folder, SPECIAL, MAX_LENGTH)
        model: SentencePieceProcessor | tokenizers.Tokenizer
        if (folder / "spiece.model").is_file():
            model = _read_pieces(folder / "spiece.model")
            special = table = _special_ids(model, settings)
            size = max(int(model.vocab_size()), *(index + 1 for index in special.values()))
        else:
            model = _read_json(folder / "tokenizer.json")
            model.add_tokens([*settings.listed.values(), *settings.others])
            special, table = {}, model.get_vocab()
            size = max(table.values()) + 1
        for name in SPECIAL:
            if (content := settings.named[name]) not in table:
                raise CheckpointError(f"{name} in {folder} must be a token of the vocabulary, got {content!r}")
        pad, end = (table[settings.named[name]] for name in ("pad_token", "eos_token"))
        return cls(model, special, settings.max_length, pad, size, (end,))

    @property
    def begin(self) -> tuple[int, ...]:
        """Nothing: no special id is in front of a text."""
        return ()

    def encode(self, text: str) -> list[int]:
        """Return all ids of a text, without special ids around it."""
        if isinstance(self.model, tokenizers.Tokenizer):
            return list(self.model.encode(text, add_special_tokens=False).ids)
        # The parts with odd indices are special tokens; of those that begin alike the longest is taken.
        longest = sorted(self.special, key=len, reverse=True)
        parts = re.split(f"({'|'.join(map(re.escape, longest))})", text)
        ids: list[int] = []
        for index, part in enumerate(parts):
            ids += [self.special[part]] if index % 2 else self.model.encode(part)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, normalized and with a space around every special token."""
        if isinstance(self.model, tokenizers.Tokenizer):
            return self.model.decode(list(ids), skip_special_tokens=False)
        names = {index: content for content, index in self.special.items()}
        parts: list[str] = []
        for special, group in groupby(ids, key=names.__contains__):
            run = list(group)
            parts += [names[index] for index in run] if special else [str(self.model.decode(run))]
        return " ".join(parts)

    def __call__(self, texts: Sequence[str], length: int | None = None) -> Tokens:
        """Return the ids of texts followed by ``</s>``, cut and padded to ``length``; None is ``max_length``."""
        return tokenize(self, texts, length)


def _read_pieces(path: Path) -> SentencePieceProcessor:
    try:
        content = path.read_bytes()
        if not content:
            raise CheckpointError(f"{path} must be a SentencePiece model, got an empty file")
        return SentencePieceProcessor(model_proto=content)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} is no SentencePiece model, or cut short") from error


def _special_ids(model: SentencePieceProcessor, settings: Settings) -> dict[str, int]:
    """The ids of special tokens: as listed, or of pieces, or, for sentinels, behind the pieces in reverse order."""
    size = int(model.vocab_size())
    special = {token.content: index for index, token in settings.listed.items()}
    sentinels = {f"<extra_id_{i}>": size + settings.extra_ids - 1 - i for i in range(settings.extra_ids)}
    for content in (*(token.content for token in settings.others), *sentinels):
        if content in special:
            continue
        index = int(model.piece_to_id(content))
        if index != model.unk_id() or content == model.id_to_piece(index):
            special[content] = index
        elif content in sentinels:
            special[content] = sentinels[content]
    return special


def _read_json(path: Path) -> tokenizers.Tokenizer:
    if not path.is_file():
        raise CheckpointError(f"no file spiece.model and no file tokenizer.json in {path.parent}")
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower class
        raise CheckpointError(f"{path} is no tokenizer: {error}") from error
    backend.no_padding()
    backend.no_truncation()
    return backend
