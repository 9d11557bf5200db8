"""Guidance of a call: a scale, or a value whose null condition is the negative prompt."""

import dataclasses
from typing import Any, Final

from artifex.guidance import CFGRescale, ClassifierFree, Conditional, Guidance
from artifex.pipelines.condition import Condition
from artifex.schedules import Prediction

NESTED: Final = ("contrasts", "guidance")
"""Fields of a guidance that hold others."""


def guided(
    guidance: float | Guidance[Condition], null: Condition, rescale: float, prediction: Prediction
) -> Guidance[Condition]:
    """The guidance of a call.

    Args:
        guidance: a scale, or a guidance whose ``null`` is filled in where it is None.
        null: the condition of the negative prompt.
        rescale: see ``CFGRescale.phi``.
        prediction: the type of the outputs that are rescaled.

    Raises:
        ValueError: for a ``rescale`` beside anything but a scale.
    """
    if not isinstance(guidance, int | float):
        if rescale:
            raise ValueError(f"rescale needs a scale as guidance, got {guidance!r}: put CFGRescale in it instead")
        out: Guidance[Condition] = with_null(guidance, null)
        return out
    if guidance == 1:
        return Conditional()
    return ClassifierFree(CFGRescale(float(guidance), rescale, prediction) if rescale else float(guidance), null)


def with_null(guidance: Any, null: Condition) -> Any:  # noqa: ANN401 -- any guidance, or several
    """Fill in ``null`` where a guidance, or one that it is made of, has None."""
    if isinstance(guidance, tuple):
        return tuple(with_null(part, null) for part in guidance)
    if not dataclasses.is_dataclass(guidance) or isinstance(guidance, type):
        return guidance
    names = {field.name for field in dataclasses.fields(guidance)}
    changed: dict[str, Any] = {name: with_null(getattr(guidance, name), null) for name in NESTED if name in names}
    if "null" in names and getattr(guidance, "null") is None:  # noqa: B009 -- not every dataclass has it
        changed["null"] = null
    return dataclasses.replace(guidance, **changed) if changed else guidance
