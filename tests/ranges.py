"""Ranges of numbers: for each, what lies at its ends and just outside of them."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType, UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import pytest

Call = Callable[..., object]


@dataclass(frozen=True)
class Range:
    """The range of one argument.

    Attributes:
        call: what takes the argument.
        name: the argument's.
        right: values at the ends of the range, or some inside where an end is open.
        wrong: values just outside; NaN is added, and for whole numbers a fraction and a bool.
        whole: whether numbers must be whole.
        given: the other arguments.
    """

    call: Call
    name: str
    right: tuple[Any, ...]
    wrong: tuple[Any, ...]
    whole: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        call = getattr(self.call, "func", self.call)  # a partial's own name holds an address, another in each process
        return f"{getattr(call, '__qualname__', type(call).__name__)}.{self.name}"

    def check(self) -> None:
        """Values in the range pass, in NumPy's dtypes too; values outside raise one line that names the argument."""
        for value in self.right:
            self.call(**{**self.given, self.name: value})
            if isinstance(value, int | float):
                self.call(**{**self.given, self.name: (np.int32 if self.whole else np.float64)(value)})
        # Where it was raised within a program, JAX adds lines of its own below a rule.
        wrong = (*self.wrong, math.nan, *((1.5, True) if self.whole else ()))
        for value in wrong:
            with pytest.raises(ValueError, match=r"^[^\n]*(must|needs) [^\n]*got [^\n]*($|\n-{20})"):
                self.call(**{**self.given, self.name: value})


def numbers(name: str, right: Iterable[Any], wrong: Iterable[Any], *calls: Call, **given: object) -> Iterator[Range]:
    """The same range of real numbers of several calls."""
    return (Range(call, name, tuple(right), tuple(wrong), given=given) for call in calls)


def wholes(name: str, low: int, high: int | None, *calls: Call, **given: object) -> Iterator[Range]:
    """Whole numbers from ``low`` to ``high``, or without end, of several calls."""
    right = (low, low + 1) if high is None else (low, high)
    wrong = (low - 1,) if high is None else (low - 1, high + 1)
    return (Range(call, name, right, wrong, whole=True, given=given) for call in calls)


def uncovered(modules: Iterable[ModuleType], ranges: Iterable[Range]) -> set[str]:
    """The public dataclasses' fields of numbers that no range is given for."""
    covered = {(getattr(row.call, "func", row.call), row.name) for row in ranges}
    out = set()
    for module in modules:
        for name, thing in vars(module).items():
            if name.startswith("_") or not (inspect.isclass(thing) and dataclasses.is_dataclass(thing)):
                continue
            for part in dataclasses.fields(thing):
                if _is_number(part.type) and (thing, part.name) not in covered:
                    out.add(f"{name}.{part.name}")
    return out


def _is_number(kind: object) -> bool:
    """Return whether an annotation admits an int or a float, alone or in a tuple."""
    several = get_origin(kind) in (Union, UnionType, tuple)
    return bool({int, float} & {kind, *(get_args(kind) if several else ())})
