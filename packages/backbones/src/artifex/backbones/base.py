"""The interface of all networks, the shapes they share, and the checks of their arguments.

``x`` is the noisy sample, ``t`` its time in units of training steps (0 to about 1000, which the sinusoids of the time
embedding are made for), ``cond`` a class label; the label ``num_classes`` is the null label, for "no condition".
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
Image = Float[Array, "b h w c"]
OtherImage = Float[Array, "b y x o"]  # of another size than the ``Image`` beside it
Tokens = Float[Array, "b n c"]
Heads = Float[Array, "b n heads d"]
Vector = Float[Array, "b c"]
Embedding = Float[Array, "b e"]  # of the time and the condition
Context = Float[Array, "b m k"]  # the vectors of a text


@runtime_checkable
class Backbone(Protocol):
    """A network ``(x, t, cond) -> out``; what ``out`` predicts is up to the caller."""

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> Float[Array, "b *o"]:
        """Evaluate the network.

        Args:
            x: noisy samples, ``(batch, *shape, channels)``.
            t: one time per sample, ``(batch,)``, float or int.
            cond: one label per sample, ``(batch,)`` in ``[0, num_classes]``; None is the null label for all.
            deterministic: whether dropout is off.

        Returns:
            An array of the shape of ``x``, with twice the channels if the network also learns a variance.
        """
        ...


class Constant(nnx.Variable[Array]):
    """An array that is saved with the parameters of a network but not trained."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TextCondition:
    """The condition of a text-conditional network.

    Attributes:
        context: the vectors of the text's tokens, ``(batch, tokens, features)``.
        pooled: one vector for the whole text, ``(batch, features)``, if the network takes one.
        ids: numbers that are embedded like times, ``(batch, count)``; SDXL's are the original height and width, the top
            and left of the crop, and the target height and width.
    """

    context: Context
    pooled: Float[Array, "b p"] | None = None
    ids: Real[Array, "b i"] | None = None


def check_types(config: object) -> None:
    """Raise ValueError unless the int fields of a dataclass hold whole numbers and the float fields finite ones."""
    assert is_dataclass(config)
    for field in fields(config):
        value, inner = getattr(config, field.name), get_args(field.type)
        types = {field.type, *inner, *(kind for one in inner for kind in get_args(one))}
        for item in value if isinstance(value, tuple) else (value,):
            if item is None:
                continue
            if int in types and (isinstance(item, bool) or not isinstance(item, int | np.integer)):
                raise ValueError(f"{field.name} must be a whole number, got {item!r}")
            if float in types:
                check_number(field.name, item)


def check_sample_size(size: int | tuple[int, int] | None) -> None:
    """Raise ValueError unless ``size`` is None, at least 1, or a height and a width of at least 1."""
    for side in size if isinstance(size, tuple) else (size,):
        if side is not None:
            check_whole("sample_size", side, 1)


def check_shape(name: str, array: Array | None, shape: tuple[int | None, ...]) -> Array:
    """Return ``array``, or raise ValueError unless it has ``shape``, in which None is any size."""
    if (
        array is None
        or len(array.shape) != len(shape)
        or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True))
    ):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape ({expected}), got {None if array is None else array.shape}")
    return array


def check_ids(ids: Int[Array, "b n"], mask: Array | None, vocab_size: int, max_length: int | None) -> None:
    """Raise ValueError unless ``ids`` are ``(batch, tokens)`` below ``vocab_size``, and ``mask`` has their shape.

    Values are checked only outside of a trace.
    """
    if ids.ndim != 2 or not ids.shape[1] or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"ids must be whole numbers of shape (batch, tokens), got {ids.dtype} of shape {ids.shape}")
    if max_length is not None and ids.shape[1] > max_length:
        raise ValueError(f"ids must have at most {max_length} tokens, got {ids.shape[1]}")
    if mask is not None and mask.shape != ids.shape:
        raise ValueError(f"mask must have the shape of ids, {ids.shape}, got {mask.shape}")
    if not isinstance(ids, jax.core.Tracer) and ids.size:
        values = np.asarray(ids)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= vocab_size:
            raise ValueError(f"ids must be in [0, {vocab_size - 1}], got {low} to {high}")


def check_input(x: X, t: Time, rank: int, channels: int) -> None:
    """Raise ValueError unless ``x`` has ``rank`` axes, the last of size ``channels``, and ``t`` is ``(batch,)``."""
    if x.ndim != rank or x.shape[-1] != channels:
        expected = ", ".join(["batch", *("height", "width")[: rank - 2], str(channels)])
        raise ValueError(f"x must have shape ({expected}), got {x.shape}")
    if t.shape != x.shape[:1]:
        raise ValueError(f"t must have shape {x.shape[:1]}, one time per sample, got {t.shape}")


def resolve_labels(cond: Label | None, num_classes: int | None, batch: int, *, null: bool = True) -> Label | None:
    """Check labels, or fill in the null label.

    Args:
        cond: labels in ``[0, num_classes]``, or None for the null label ``num_classes``.
        num_classes: number of classes, or None for a network without condition.
        batch: number of labels expected.
        null: whether the network has a null label; if not, ``cond`` must hold labels below ``num_classes``.

    Returns:
        ``batch`` labels, or None if and only if ``num_classes`` is None.

    Raises:
        ValueError: if a condition is given but not taken, or needed but not given; if the labels are not of shape
            ``(batch,)``; or if a label is out of range, which is checked only outside of a trace.
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
        raise ValueError(f"cond must have shape ({batch},), one label per sample, got {cond.shape}")
    if not isinstance(cond, jax.core.Tracer) and batch:
        values = np.asarray(cond)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > num_classes - (not null):
            allowed = f"[0, {num_classes}], {num_classes} being null" if null else f"[0, {num_classes - 1}]"
            raise ValueError(f"labels must be in {allowed}, got {low} to {high}")
    return cond
