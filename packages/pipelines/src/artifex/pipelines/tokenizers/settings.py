"""Settings of a tokenizer: the JSON files beside its vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenizers import AddedToken

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.checkpoint import read_json

CONFIG: Final = "tokenizer_config.json"
# In the order in which transformers adds them.
NAMED: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_EXTRA: Final = ("extra_special_tokens", "additional_special_tokens")
_FLAGS: Final = ("single_word", "lstrip", "rstrip", "normalized", "special")
# transformers writes 1e30 where there is no limit.
_LIMIT: Final = 10**6


@dataclass(frozen=True)
class Settings:
    """Special tokens and length of a tokenizer.

    Attributes:
        named: The content of each special token, by its name, such as ``"pad_token"``.
        listed: The tokens that are recognized in a text before anything else and whose ids the files list.
        others: Further tokens of this kind: special ones whose ids follow from the vocabulary.
        max_length: The length of a row of ids.
        extra_ids: The number of sentinels that T5's vocabulary is extended by.
    """

    named: Mapping[str, str]
    listed: Mapping[int, AddedToken]
    others: tuple[AddedToken, ...]
    max_length: int
    extra_ids: int


def read_settings(folder: Path, tokens: Mapping[str, str], max_length: int) -> Settings:
    """Read the settings of a tokenizer as transformers does.

    ``added_tokens_decoder`` in ``tokenizer_config.json`` lists all tokens; without it, ``special_tokens_map.json``
    overrides the special tokens, and ``added_tokens.json`` and ``tokenizer.json`` list further tokens.

    Args:
        folder: The tokenizer's folder. None of these files is required.
        tokens: The special tokens of the tokenizer's class, by name, for those that the files do not name.
        max_length: The length where the files give none, or no limit.

    Raises:
        CheckpointError: If a file is broken, or if a value in it has another type or is not supported.
    """
    config = _read(folder / CONFIG)
    if config.get("padding_side", "right") != "right":
        raise CheckpointError(f"padding_side in {folder / CONFIG} must be 'right', got {config['padding_side']!r}")
    fields = {**tokens, **_present(config)}
    listed: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in config:
        for index, value in _mapping(config["added_tokens_decoder"], "added_tokens_decoder").items():
            listed[_index(index)] = _token(value, "added_tokens_decoder")
    else:
        fields |= _present(_read(folder / "special_tokens_map.json"))
        names = {_token(fields[name], name).content for name in NAMED if name in fields}
        names |= {token.content for token in _extras(fields)}
        for content, position in _read(folder / "added_tokens.json").items():
            special = content in names
            listed[_index(position)] = AddedToken(content, normalized=not special, special=special)
        for value in _list(_read(folder / "tokenizer.json").get("added_tokens", []), "added_tokens"):
            listed[_index(_mapping(value, "added_tokens").get("id"))] = _token(value, "added_tokens")
    known = {token.content for token in listed.values()}
    special_tokens = {name: _token(fields[name], name) for name in NAMED if name in fields}
    others = tuple(token for token in (*special_tokens.values(), *_extras(fields)) if token.content not in known)
    return Settings(
        {name: token.content for name, token in special_tokens.items()},
        dict(sorted(listed.items())),
        others,
        _length(config.get("model_max_length"), max_length),
        _index(config.get("extra_ids", 100)),
    )


def _read(path: Path) -> dict[str, object]:
    return read_json(path) if path.is_file() else {}


def _present(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _length(value: object, default: int) -> int:
    if value is None or (isinstance(value, int | float) and value > _LIMIT):
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CheckpointError(f"model_max_length must be a positive integer, got {value!r}")
    return value


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{name} must hold JSON objects, got {value!r}")
    return value


def _list(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        raise CheckpointError(f"{name} must be a list, got {value!r}")
    return value


def _index(value: object) -> int:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CheckpointError(f"an id of a token must be a non-negative integer, got {value!r}")
    return value


def _token(value: object, name: str) -> AddedToken:
    """Read a token, which is a string or an object with flags; special ones are matched in the raw text by default."""
    if isinstance(value, str):
        return AddedToken(value, special=True, normalized=False)
    fields = _mapping(value, name)
    content = fields.get("content")
    if not isinstance(content, str):
        raise CheckpointError(f"a token in {name} must have a string as content, got {content!r}")
    flags = {"special": True, **{flag: bool(fields[flag]) for flag in _FLAGS if flag in fields}}
    return AddedToken(content, **flags)


def _extras(fields: Mapping[str, object]) -> list[AddedToken]:
    """The special tokens without a name; a mapping gives each a name, which is not needed here."""
    for key in _EXTRA:
        if value := fields.get(key):
            values = value.values() if isinstance(value, Mapping) else _list(value, key)
            return [_token(item, key) for item in values]
    return []
