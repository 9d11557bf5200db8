"""Token ids of texts, and the protocol of tokenizers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int32


@dataclass(frozen=True, eq=False)
class Tokens:
    """The ids of ``n`` texts, cut and padded to one length.

    Attributes:
        ids: The ids, special ones and padding included.
        mask: False for padding, True for all else.
    """

    ids: Int32[np.ndarray, "n length"]
    mask: Bool[np.ndarray, "n length"]


@runtime_checkable
class Tokenizer(Protocol):
    """A map from texts to ids in ``[0, vocab_size)``."""

    @property
    def max_length(self) -> int:
        """The length of a row of ids, special ones included."""
        ...

    @property
    def pad_id(self) -> int:
        """The id of padding, which follows the text."""
        ...

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        ...

    @property
    def begin(self) -> tuple[int, ...]:
        """The special ids in front of a text."""
        ...

    @property
    def end(self) -> tuple[int, ...]:
        """The special ids behind a text."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return all ids of a text, without special ids around it."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, as normalized by ``encode``."""
        ...

    def __call__(self, texts: Sequence[str], length: int | None = None) -> Tokens:
        """Return the ids of texts between special ones, cut and padded to ``length``; None is ``max_length``."""
        ...


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], length: int | None = None) -> Tokens:
    """Encode texts, cut each so that the special ids fit, and pad on the right.

    Args:
        tokenizer: What encodes one text.
        texts: The texts; an empty one has special ids only.
        length: The length of each row; None is the tokenizer's ``max_length``.

    Raises:
        TypeError: If ``texts`` is one string.
        ValueError: If the special ids do not fit into ``length``.
    """
    if isinstance(texts, str):
        raise TypeError(f"texts must be a sequence of strings, got the string {texts[:40]!r}")
    length = tokenizer.max_length if length is None else length
    begin, end = tokenizer.begin, tokenizer.end
    room = length - len(begin) - len(end)
    if room < 0:
        raise ValueError(f"length must be at least {len(begin) + len(end)}, for the special ids, got {length}")
    rows = [(*begin, *tokenizer.encode(text)[:room], *end) for text in texts]
    ids = np.full((len(rows), length), tokenizer.pad_id, np.int32)
    for out, row in zip(ids, rows, strict=True):
        out[: len(row)] = row
    lengths = np.array([len(row) for row in rows], np.int32)
    return Tokens(ids, np.arange(length) < lengths[:, None])
