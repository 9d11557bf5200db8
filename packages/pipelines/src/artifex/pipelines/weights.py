"""Weights of words in a prompt: ``a (red:1.3) [cat]``."""

import re
from typing import Final

MORE: Final = 1.1
"""The weight of ``(words)``; that of ``[words]`` is its reciprocal."""
_TOKEN: Final = re.compile(r"\\[()\[\]\\]|[(\[)\]]|:\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*\)|[^\\()\[\]:]+|.", re.DOTALL)


def weighted_parts(text: str) -> list[tuple[str, float]]:
    r"""Split a prompt into parts with weights, which multiply where brackets are nested.

    ``(words)`` has the weight 1.1, ``[words]`` 1 / 1.1, ``(words:1.3)`` 1.3; a backslash makes a bracket a character.
    A bracket that is not closed ends with the text.

    Returns:
        The parts in order, neighbors of one weight joined.
    """
    parts: list[tuple[str, float]] = []
    opened: list[tuple[str, int]] = []
    for match in _TOKEN.finditer(text):
        token, number = match.group(0), match.group(1)
        if token in ("(", "["):
            opened.append((token, len(parts)))
        elif number is not None and opened and opened[-1][0] == "(":
            _scale(parts, opened.pop()[1], float(number))
        elif token == ")" and opened and opened[-1][0] == "(":
            _scale(parts, opened.pop()[1], MORE)
        elif token == "]" and opened and opened[-1][0] == "[":
            _scale(parts, opened.pop()[1], 1 / MORE)
        else:
            parts.append((token[1:] if token[0] == "\\" and len(token) == 2 else token, 1.0))
    for bracket, first in reversed(opened):
        _scale(parts, first, MORE if bracket == "(" else 1 / MORE)
    joined: list[tuple[str, float]] = []
    for part, weight in parts:
        if joined and joined[-1][1] == weight:
            joined[-1] = joined[-1][0] + part, weight
        else:
            joined.append((part, weight))
    return joined


def _scale(parts: list[tuple[str, float]], first: int, weight: float) -> None:
    """Multiply the weights of all parts from ``first`` on."""
    parts[first:] = [(part, before * weight) for part, before in parts[first:]]
