"""Settings without a field in diffusers' configs, kept in a field ``_artifex`` that diffusers ignores.

Examples are a null label, the split of SDXL's added input into a vector and time ids, or ``remat``.
"""

import dataclasses
from collections.abc import Callable
from types import UnionType
from typing import Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.config_fields import Json

EXTRA_FIELDS: Final = "_artifex"
DTYPES: Final = ("dtype", "param_dtype")  # of the arrays, and of what they are read as
C = TypeVar("C")


def extra_fields(config: object, read: object) -> Json:
    """The fields of ``config`` that differ from ``read``, the config read back, under ``_artifex``; {} if none does."""
    other = vars(read)
    found = {key: value for key, value in vars(config).items() if key not in DTYPES and value != other[key]}
    return {EXTRA_FIELDS: found} if found else {}


def with_extra_fields(config: C, found: object, round_trip: Callable[[C], C]) -> C:
    """``config`` completed with the extra fields ``found`` in a file.

    Args:
        config: the config that the other fields of the file give.
        found: the content of the file's field ``_artifex``.
        round_trip: writes a config without extra fields and reads it back.

    Raises:
        CheckpointError: if ``found`` holds unknown fields or values, or contradicts ``config``.
    """
    hints = {key: hint for key, hint in get_type_hints(type(config)).items() if key not in DTYPES}
    if not isinstance(found, dict) or not all(_fits(_plain(item), hints.get(key)) for key, item in found.items()):
        raise CheckpointError(f"{EXTRA_FIELDS} must hold fields of {type(config).__name__}, got {found!r}")
    whole: C = dataclasses.replace(config, **{key: _plain(item) for key, item in found.items()})  # type: ignore[type-var]
    if round_trip(whole) != config:
        raise CheckpointError(f"{EXTRA_FIELDS} must agree with the other fields, got {found!r}")
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
