"""Fields of a ``config.json``, read one by one; unread fields are refused at the end."""

import math
from collections.abc import Mapping
from typing import Final

from artifex.backbones.interop.checkpoint import CheckpointError

Json = dict[str, object]
Fixed = Mapping[str, tuple[object, ...]]
MISSING: Final = object()
# Fields that no network reads, written by diffusers' EMA and by its Flax networks.
IGNORED: Final = frozenset(
    ("decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup")
) | frozenset(("split_head_dim", "use_memory_efficient_attention"))


class Fields:
    """The fields of a config, each of which is read once.

    Keys that begin with ``_`` are ignored. An absent field has diffusers' default.
    """

    def __init__(self, values: Json) -> None:
        self._values = {key: value for key, value in values.items() if not key.startswith("_") and key not in IGNORED}

    def take(self, key: str, default: object = MISSING) -> object:
        """A value of any type."""
        value = self._values.pop(key, default)
        if value is MISSING:
            raise CheckpointError(f"config.json has no field {key!r}")
        return value

    def integer(self, key: str, default: object = MISSING) -> int:
        """A whole number."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise CheckpointError(f"{key} must be a whole number, got {value!r}")
        return value

    def optional(self, key: str, default: int | None = None) -> int | None:
        """A whole number or None."""
        value = self.take(key, default)
        return None if value is None else Fields({key: value}).integer(key)

    def sides(self, key: str, default: int | None = None) -> int | tuple[int, int] | None:
        """Height and width: two whole numbers, one for both, or None."""
        value = self.take(key, default)
        if isinstance(value, list | tuple) and len(value) == 2:
            height, width = Fields({key: value}).integers(key)
            return height, width
        return Fields({key: value}).optional(key)

    def number(self, key: str, default: object = MISSING) -> float:
        """A finite number."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise CheckpointError(f"{key} must be a finite number, got {value!r}")
        return value

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """A list of finite numbers, or None (the default)."""
        value = self.take(key, None)
        if value is not None and not isinstance(value, list | tuple):
            raise CheckpointError(f"{key} must be a list of numbers or null, got {value!r}")
        return None if value is None else tuple(Fields({key: item}).number(key) for item in value)

    def flag(self, key: str, default: object = MISSING) -> bool:
        """True or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"{key} must be true or false, got {value!r}")
        return value

    def integers(self, key: str, default: object = MISSING) -> tuple[int, ...]:
        """A list of whole numbers."""
        value = self.take(key, default)
        if not isinstance(value, list | tuple):
            raise CheckpointError(f"{key} must be a list of whole numbers, got {value!r}")
        return tuple(Fields({key: item}).integer(key) for item in value)

    def each(self, key: str, count: int, default: object = MISSING) -> tuple[int, ...]:
        """``count`` whole numbers, given as a list or as one for all."""
        value = self.take(key, default)
        found = (
            Fields({key: value}).integers(key)
            if isinstance(value, list | tuple)
            else ((Fields({key: value}).integer(key),) * count)
        )
        if len(found) != count:
            raise CheckpointError(f"{key} must hold {count} numbers, got {value!r}")
        return found

    def collapse(self, key: str) -> None:
        """Replace a list of equal values by the value."""
        value = self._values.get(key)
        if isinstance(value, list | tuple) and value and all(item == value[0] for item in value):
            self._values[key] = value[0]

    def words(self, key: str, default: object = MISSING) -> tuple[str, ...]:
        """A list of strings."""
        value = self.take(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise CheckpointError(f"{key} must be a list of strings, got {value!r}")
        return tuple(value)

    def choice(self, key: str, allowed: tuple[str, ...], default: object = MISSING) -> str:
        """One of the strings ``allowed``."""
        value = self.take(key, default)
        if value not in allowed:
            raise CheckpointError(f"{key} must be one of {allowed} here, got {value!r}")
        return str(value)

    def choice_of(self, key: str, allowed: tuple[int, ...], default: object = MISSING) -> int:
        """One of the whole numbers ``allowed``."""
        value = self.integer(key, default)
        if value not in allowed:
            raise CheckpointError(f"{key} must be one of {allowed} here, got {value!r}")
        return value

    def done(self, *fixed: Fixed) -> None:
        """Check that fields without a counterpart are absent or have a value in ``fixed``, and refuse all others."""
        for key, allowed in (item for each in fixed for item in each.items()):
            value = self._values.pop(key, allowed[0])
            value = tuple(value) if isinstance(value, list) else value
            if value not in allowed:
                options = " or ".join(repr(option) for option in allowed)
                raise CheckpointError(f"{key} must be {options}: nothing else is supported; got {value!r}")
        if self._values:
            raise CheckpointError(f"fields that are not known: {', '.join(sorted(self._values))}")


def plain(fixed: Fixed) -> Json:
    """The fields of ``fixed`` to write."""
    return {key: list(allowed[0]) if isinstance(allowed[0], tuple) else allowed[0] for key, allowed in fixed.items()}
