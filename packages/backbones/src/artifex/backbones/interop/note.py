"""Settings that diffusers' fields can't express, in a field of their own that diffusers passes over.

Such are a label for "no class", how an input of SDXL is shared between a vector and numbers, or ``remat``.
"""

import dataclasses
from collections.abc import Callable
from types import UnionType
from typing import Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.fields import Json

NOTE: Final = "_artifex"
DTYPES: Final = ("dtype", "param_dtype")  # of the arrays, and of what they are read as
C = TypeVar("C")


def note(config: object, read: object) -> Json:
    """The field `NOTE` with those in which ``config`` differs from what was ``read`` back; nothing where none does."""
    other = vars(read)
    found = {key: value for key, value in vars(config).items() if key not in DTYPES and value != other[key]}
    return {NOTE: found} if found else {}


def completed(config: C, found: object, again: Callable[[C], C]) -> C:
    """``config`` with the fields that a note holds; ``again`` writes a config without a note and reads it.

    Raises:
        CheckpointError: If the note holds something else, or fields that ``config`` itself contradicts.
    """
    hints = {key: hint for key, hint in get_type_hints(type(config)).items() if key not in DTYPES}
    if not isinstance(found, dict) or not all(_fits(_plain(item), hints.get(key)) for key, item in found.items()):
        raise CheckpointError(f"{NOTE} must hold fields of {type(config).__name__}, got {found!r}")
    whole: C = dataclasses.replace(config, **{key: _plain(item) for key, item in found.items()})  # type: ignore[type-var]
    if again(whole) != config:
        raise CheckpointError(f"{NOTE} must agree with the other fields, got {found!r}")
    return whole


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _fits(value: object, hint: object) -> bool:
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return value in inner
    if kind is UnionType:
        return any(_fits(value, part) for part in inner)
    if kind is tuple and inner[-1] is Ellipsis:
        return isinstance(value, tuple) and all(_fits(item, inner[0]) for item in value)
    if kind is tuple:
        return isinstance(value, tuple) and [type(item) for item in value] == list(inner)
    return type(value) in ((int, float) if hint is float else (hint,))
