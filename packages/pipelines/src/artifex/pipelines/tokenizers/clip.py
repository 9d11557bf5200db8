"""The tokenizer of CLIP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.checkpoint import read_json
from artifex.pipelines.tokenizers.base import Tokens, tokenize
from artifex.pipelines.tokenizers.settings import Settings, read_settings

MAX_LENGTH: Final = 77
BEGIN: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
SPECIAL: Final = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": END}
SUFFIX: Final = "</w>"
# Special tokens, English contractions, runs of letters, single digits, runs of everything else but spaces.
WORDS: Final = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"

Merges = list[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class CLIPTokenizer:
    """Byte-pair encoding of the bytes of lower-cased words, whose last symbol ends with ``</w>``.

    The ids are those of transformers' ``CLIPTokenizer``. OpenAI's and OpenCLIP's own tokenizers agree, except that they
    first replace HTML entities such as ``&amp;`` and what the library ftfy replaces (wrong encodings, ligatures,
    full-width letters, curly quotes, control characters), and recognize other special tokens or none.

    Attributes:
        backend: The tokenizer of the library ``tokenizers``.
        max_length: The length of a row of ids, 77 by default.
        pad_id: The id of padding: that of the end token, or 0, for ``!``, in Stable Diffusion 2 and in the second
            tokenizer of Stable Diffusion XL. There, as in transformers, every ``!`` of a text has the id 0.
        vocab_size: One more than the largest id.
        begin: The id of ``<|startoftext|>``.
        end: The id of ``<|endoftext|>``.

    References: Radford et al. 2021, https://arxiv.org/abs/2103.00020; Sennrich et al. 2016,
    https://arxiv.org/abs/1508.07909
    """

    backend: tokenizers.Tokenizer
    max_length: int
    pad_id: int
    vocab_size: int
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @classmethod
    def from_folder(cls, folder: str | Path) -> "CLIPTokenizer":
        """Read ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``, and the settings beside them.

        Raises:
            CheckpointError: If a file is missing or broken, or if vocabulary, merges and special tokens disagree.
        """
        folder = Path(folder)
        settings = read_settings(folder, SPECIAL, MAX_LENGTH)
        if (path := folder / "tokenizer.json").is_file():
            vocab, merges = _from_json(path)
        else:
            vocab, merges = _from_text(folder)
        backend = build(vocab, merges, settings, folder)
        table = backend.get_vocab()
        ids = {name: table[content] for name, content in settings.named.items()}
        size = max(table.values()) + 1
        return cls(backend, settings.max_length, ids["pad_token"], size, (ids["bos_token"],), (ids["eos_token"],))

    def encode(self, text: str) -> list[int]:
        """Return all ids of a text, without special ids around it."""
        return list(self.backend.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids: lower-cased, with a space behind every word."""
        return self.backend.decode(list(ids), skip_special_tokens=False).replace(SUFFIX, " ").strip()

    def __call__(self, texts: Sequence[str], length: int | None = None) -> Tokens:
        """Return the ids of texts between special ones, cut and padded to ``length``; None is ``max_length``."""
        return tokenize(self, texts, length)


def build(vocab: Mapping[str, int], merges: Merges, settings: Settings, folder: Path) -> tokenizers.Tokenizer:
    """Make the backend: normalization, words, byte-pair encoding, special tokens.

    Raises:
        CheckpointError: If vocabulary, merges and special tokens disagree; ``folder`` is part of the message.
    """
    if len(set(vocab.values())) != len(vocab):
        raise CheckpointError(f"the vocabulary in {folder} must have different ids, got two tokens with the same id")
    unknown = settings.named["unk_token"]
    for part in (unknown, *(part for first, second in merges for part in (first, second, first + second))):
        if part not in vocab:
            raise CheckpointError(f"the vocabulary in {folder} must hold {part!r}, got {len(vocab)} other tokens")
    model = models.BPE(
        vocab=dict(vocab),
        merges=merges,
        continuing_subword_prefix="",
        end_of_word_suffix=SUFFIX,
        unk_token=unknown,
    )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([*settings.listed.values(), *settings.others])
    for index, token in settings.listed.items():
        if (got := backend.token_to_id(token.content)) != index:
            raise CheckpointError(f"the files in {folder} list {token.content!r} as {index}, the vocabulary as {got}")
    return backend


def _from_json(path: Path) -> tuple[dict[str, int], Merges]:
    """Read the vocabulary and the merges, pairs or strings, of a ``tokenizer.json``."""
    model = read_json(path).get("model")
    vocab, merges = (model.get("vocab"), model.get("merges")) if isinstance(model, dict) else (None, None)
    if not isinstance(merges, list):
        raise CheckpointError(f"the model in {path} must be of byte pairs, with vocab and merges")
    return _vocabulary(vocab, path), _pairs(merges, path)


def _from_text(folder: Path) -> tuple[dict[str, int], Merges]:
    """Read ``vocab.json`` and ``merges.txt``."""
    path = folder / "merges.txt"
    vocab = _vocabulary(read_json(folder / "vocab.json"), folder / "vocab.json")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise CheckpointError(f"no file {path}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no text: {error}") from error
    return vocab, _pairs([line for line in lines if line and not line.startswith("#version")], path)


def _vocabulary(vocab: object, path: Path) -> dict[str, int]:
    if not isinstance(vocab, dict) or not all(type(index) is int and index >= 0 for index in vocab.values()):
        raise CheckpointError(f"the vocabulary in {path} must map tokens to ids")
    return vocab


def _pairs(merges: Sequence[object], path: Path) -> Merges:
    pairs: Merges = []
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise CheckpointError(f"a merge in {path} must be of two tokens, got {merge!r}")
        pairs.append((pair[0], pair[1]))
    return pairs
