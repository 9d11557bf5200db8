"""The one contract of every network here, and the checks that they share.

``x`` is the noisy sample, ``t`` its time in the units of the schedule's training steps (0 to about 1000: the time
embedding turns slowly below that), ``cond`` a class label; the label ``num_classes`` is the null label, "no condition".
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

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


def check_input(x: X, t: Time, rank: int, channels: int) -> None:
    """Raise ValueError unless ``x`` has ``rank`` axes, the last of size ``channels``, and ``t`` is ``(batch,)``."""
    if x.ndim != rank or x.shape[-1] != channels:
        expected = ", ".join(["batch", *("height", "width")[: rank - 2], str(channels)])
        raise ValueError(f"x must have shape ({expected}), got {x.shape}")
    if t.shape != x.shape[:1]:
        raise ValueError(f"t must have shape {x.shape[:1]}, one time a sample, got {t.shape}")


def resolve_labels(cond: Label | None, num_classes: int | None, batch: int) -> Label | None:
    """Fill in the null label and check the given ones.

    Args:
        cond: Labels in ``[0, num_classes]``, or None for the null label ``num_classes``.
        num_classes: Number of classes, or None for a network without condition.
        batch: Number of labels expected.

    Returns:
        ``batch`` labels, or None exactly when ``num_classes`` is None.

    Raises:
        ValueError: If the network takes no condition but one is given, if the labels have another shape than
            ``(batch,)``, or if a label is out of range (not seen while tracing, where values are unknown).
    """
    if num_classes is None:
        if cond is not None:
            raise ValueError("cond must be None for a network with num_classes=None, got labels")
        return None
    if cond is None:
        return jnp.full((batch,), num_classes, jnp.int32)
    if cond.shape != (batch,):
        raise ValueError(f"cond must have shape ({batch},), one label a sample, got {cond.shape}")
    if not isinstance(cond, jax.core.Tracer) and batch:
        values = np.asarray(cond)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > num_classes:
            raise ValueError(f"labels must be in [0, {num_classes}], {num_classes} being null, got {low} to {high}")
    return cond
