"""The one contract of every network here, and the checks that they share.

``x`` is the noisy sample, ``t`` its time in the units of the schedule's training steps (0 to about 1000: the time
embedding turns slowly below that), ``cond`` a class label; the label ``num_classes`` is the null label, "no condition".
"""

from dataclasses import dataclass, fields, is_dataclass
from typing import Protocol, get_args, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Real

from artifex.kernels.ranges import check_number, check_whole

X = Float[Array, "b *d"]
Time = Real[Array, " b"]
Label = Int[Array, " b"]


@runtime_checkable
class Backbone(Protocol):
    """A network ``(x, t, cond) -> out``; what ``out`` predicts is for the caller to say."""

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> Float[Array, "b *o"]:
        """Evaluate the network.

        Args:
            x: Noisy samples, ``(batch, *shape, channels)``.
            t: One time a sample, ``(batch,)``, float or int.
            cond: One label a sample, ``(batch,)`` in ``[0, num_classes]``; None is the null label for all.
            deterministic: False turns dropout on.

        Returns:
            An array shaped as ``x``; networks that also learn a variance double the channels.
        """
        ...


class Constant(nnx.Variable[Array]):
    """An array that is saved with a network's parameters and is not trained."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TextCondition:
    """What a text-conditional network is told beside the time.

    Attributes:
        context: The text's vectors, ``(batch, tokens, features)``.
        pooled: One vector of the whole text a sample, ``(batch, features)``, where the network takes one.
        ids: Numbers that are embedded as times are, ``(batch, count)``: SDXL's original height and width, crop's top
            and left, target height and width.
    """

    context: Float[Array, "b m k"]
    pooled: Float[Array, "b p"] | None = None
    ids: Real[Array, "b i"] | None = None


def check_kinds(config: object) -> None:
    """Raise ValueError unless a dataclass's ints are whole numbers, no bools, and its floats finite ones."""
    assert is_dataclass(config)
    for part in fields(config):
        value, inner = getattr(config, part.name), get_args(part.type)
        kinds = {part.type, *inner, *(kind for one in inner for kind in get_args(one))}
        for one in value if isinstance(value, tuple) else (value,):
            if one is None:
                continue
            if int in kinds and (isinstance(one, bool) or not isinstance(one, int | np.integer)):
                raise ValueError(f"{part.name} must be a whole number, got {one!r}")
            if float in kinds:
                check_number(part.name, one)


def check_sample_size(size: int | tuple[int, int] | None) -> None:
    """Raise ValueError unless ``size`` is None, or height and width, or one number for both, of at least 1."""
    for one in size if isinstance(size, tuple) else (size,):
        if one is not None:
            check_whole("sample_size", one, 1)


def check_part(name: str, part: Array | None, shape: tuple[int | None, ...]) -> Array:
    """``part`` of a condition, or a ValueError unless it has ``shape``, whose None is any size."""
    got = None if part is None else part.shape
    if (
        part is None
        or part.ndim != len(shape)
        or any(n not in (None, m) for n, m in zip(shape, part.shape, strict=True))
    ):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape ({expected}), got {got}")
    return part


def check_input(x: X, t: Time, rank: int, channels: int) -> None:
    """Raise ValueError unless ``x`` has ``rank`` axes, the last of size ``channels``, and ``t`` is ``(batch,)``."""
    if x.ndim != rank or x.shape[-1] != channels:
        expected = ", ".join(["batch", *("height", "width")[: rank - 2], str(channels)])
        raise ValueError(f"x must have shape ({expected}), got {x.shape}")
    if t.shape != x.shape[:1]:
        raise ValueError(f"t must have shape {x.shape[:1]}, one time a sample, got {t.shape}")


def resolve_labels(cond: Label | None, num_classes: int | None, batch: int, *, null: bool = True) -> Label | None:
    """Fill in the null label and check the given ones.

    Args:
        cond: Labels in ``[0, num_classes]``, or None for the null label ``num_classes``.
        num_classes: Number of classes, or None for a network without condition.
        batch: Number of labels expected.
        null: Whether the network has a null label; if not, labels must be given and be below ``num_classes``.

    Returns:
        ``batch`` labels, or None exactly when ``num_classes`` is None.

    Raises:
        ValueError: If the network takes no condition but one is given, if it needs one and none is given, if the labels
            have another shape than ``(batch,)``, or if a label is out of range (not seen while tracing, where values
            are unknown).
    """
    if num_classes is None:
        if cond is not None:
            raise ValueError("cond must be None for a network with num_classes=None, got labels")
        return None
    if cond is None:
        if not null:
            raise ValueError(f"cond must be labels in [0, {num_classes - 1}]: this network has no null label; got None")
        return jnp.full((batch,), num_classes, jnp.int32)
    if cond.shape != (batch,):
        raise ValueError(f"cond must have shape ({batch},), one label a sample, got {cond.shape}")
    if not isinstance(cond, jax.core.Tracer) and batch:
        values = np.asarray(cond)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > num_classes - (not null):
            allowed = f"[0, {num_classes}], {num_classes} being null" if null else f"[0, {num_classes - 1}]"
            raise ValueError(f"labels must be in {allowed}, got {low} to {high}")
    return cond
