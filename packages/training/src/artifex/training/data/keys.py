"""The arrays of examples and labels in an npz file, by common names."""

from collections.abc import Iterable
from itertools import product
from typing import Final

from artifex.training.data.splits import NAMES, Part

AUTO: Final = "auto"
"""The labels' key for the array that belongs to the examples."""
EXAMPLES: Final = ("images", "image", "samples", "x", "data", "arr_0")
"""``arr_0`` is ``numpy.savez``'s name of the first array, as in guided-diffusion's samples."""
LABELS: Final = ("labels", "label", "y", "targets", "target", "classes", "arr_1")


def examples_key(keys: Iterable[str], part: Part | None, path: object) -> str:
    """Find the name of the examples of a part: ``images``, ``x_train``, ``test_images``, ``arr_0`` and so on.

    Args:
        keys: of the file.
        part: of the data; None is the training part if there are parts.
        path: of the file, for messages.

    Raises:
        ValueError: if there is not exactly one.
    """
    keys = list(keys)
    plain = [] if part else _named(keys, EXAMPLES, None)
    found = plain or _named(keys, EXAMPLES, part or "train")
    if not found and part is None and len(keys) == 1:
        return keys[0]
    if len(found) != 1:
        expected = f"{part} examples" if part else "examples"
        raise ValueError(
            f"{path} must hold one array of {expected}, such as images or x_train, got {', '.join(keys) or 'nothing'}; "
            "set data.x_key and data.labels_key"
        )
    return found[0]


def labels_key(keys: Iterable[str], x_key: str, path: object) -> str | None:
    """Find the name of the labels of the examples ``x_key``; None without labels.

    Raises:
        ValueError: if there are several.
    """
    keys = [key for key in keys if key != x_key]
    part = next((part for part in NAMES if _named([x_key], EXAMPLES, part)), None)
    found = _named(keys, LABELS, part)
    if x_key != "arr_0":
        found = [key for key in found if key != "arr_1"]
    if len(found) > 1:
        raise ValueError(f"{path} must hold one array of labels, got {', '.join(found)}; set data.labels_key")
    return found[0] if found else None


def _named(keys: Iterable[str], words: Iterable[str], part: Part | None) -> list[str]:
    """Select the ``keys`` that are one of ``words`` with the name of ``part`` as prefix or suffix, in any case."""
    wanted = (
        set(words)
        if part is None
        else {name for word, called in product(words, NAMES[part]) for name in (f"{word}_{called}", f"{called}_{word}")}
    )
    return [key for key in keys if key.lower() in wanted]
