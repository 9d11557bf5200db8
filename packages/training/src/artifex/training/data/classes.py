"""Names of classes: their order, which defines the labels, and the labels of named examples."""

import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np
from jaxtyping import Integer


def ordered(names: Iterable[str]) -> list[str]:
    """Sort ``names`` to the order of their labels: numerically if all are whole numbers, else alphabetically."""
    known = set(names)
    if all(name.isascii() and name.isdecimal() for name in known):
        return sorted(known, key=lambda name: (int(name), name))
    return sorted(known)


def normal(name: str) -> str:
    """Normalize the Unicode encoding of accents, which depends on the file system."""
    return unicodedata.normalize("NFC", name)


def check_names(names: Sequence[str], of: str) -> None:
    """Raise a ValueError if two of ``names`` are too similar, or one is not printable.

    Args:
        names: of classes.
        of: their origin, for the message.
    """
    known = dict[str, str]()
    for name in names:
        if not name.isprintable() or not name.strip():
            raise ValueError(f"{of}: names of classes must be text that can be printed, got {name!a}")
        other = known.setdefault(normal(name).casefold(), name)
        if other != name:
            raise ValueError(
                f"{of}: names of classes must differ by more than capitals or the encoding of accents, "
                f"got {other} and {name}; rename one"
            )


def labels_of(text: str, classes: Sequence[str]) -> list[int]:
    """Parse a list of class names such as ``cat,dog`` to labels, in its order.

    Args:
        text: names with commas between them, or a single name.
        classes: names of the labels 0, 1, ...

    Raises:
        ValueError: for an unknown name.
    """
    labels = {normal(name): label for label, name in enumerate(classes)}
    names = [text] if normal(text) in labels else [name.strip() for name in text.split(",")]
    for name in names:
        if normal(name) not in labels:
            shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            near = get_close_matches(name, classes, n=1)
            raise ValueError(f"must be of {shown}, got {name!r}" + (f"; the nearest is {near[0]}" if near else ""))
    return [labels[normal(name)] for name in names]


def encoded(labels: np.ndarray, name: str) -> tuple[Integer[np.ndarray, " n"], tuple[str, ...]]:
    """Convert labels to integers, and return the names of their classes if they are names.

    Args:
        labels: ``(n,)`` or ``(n, 1)``: integers, floats that are whole, booleans, or names.
        name: of their origin, for messages.

    Raises:
        ValueError: if they are anything else.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    got = f"got {labels.shape} of {labels.dtype}"
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and _one_hot(labels):
        got += ", one-hot: store labels.argmax(axis=1)"
    if labels.ndim == 1 and labels.dtype.kind in "US":
        texts = [normal(text.decode() if isinstance(text, bytes) else str(text)) for text in labels.tolist()]
        classes = ordered(texts)
        indices = {text: label for label, text in enumerate(classes)}
        return np.array([indices[text] for text in texts], np.int64), tuple(classes)
    whole = labels.dtype.kind == "f" and labels.ndim == 1 and np.array_equal(labels, np.trunc(labels))
    if labels.ndim != 1 or not (labels.dtype.kind in "biu" or (whole and np.isfinite(labels).all())):
        raise ValueError(f"{name}: labels must be integers (n,), {got}")
    return labels.astype(np.int64) if labels.dtype.kind in "bf" else labels, ()


def _one_hot(labels: np.ndarray) -> bool:
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())
