"""Rules: what becomes of two predictions, one to follow and one to leave behind."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from artifex.guidance.scales import Scale, check_scale, factor_at
from artifex.kernels.dtypes import common_dtype
from artifex.kernels.ranges import check_number
from artifex.schedules import NoiseLevel
from artifex.schedules.arrays import record
from artifex.schedules.shapes import X


@runtime_checkable
class Rule(Protocol):
    """A way to put a strong and a weak $x_0$ together; where its scale is 1 it gives the strong one as it is."""

    @property
    def scale(self) -> Scale:
        """How far to go from the weak towards the strong: 1 arrives, more goes on."""
        ...

    def combine(self, strong: X, weak: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The guided $x_0$ at ``x_t``; all four share the batch, and the $x_0$ are of the shape of ``x_t``."""
        ...


@record
class LinearRule:
    r"""$x_0^- + w\, (x_0^+ - x_0^-)$: ``w = 0`` is weak, ``w = 1`` strong, more pushes on.

    Attributes:
        scale: w, any finite number, one a sample, or a function of the noise level.

    Raises:
        ValueError: if the scale is not finite.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598
    """

    scale: Scale

    def __post_init__(self) -> None:
        check_scale(self.scale)

    def combine(self, strong: X, weak: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The guided $x_0$."""
        return apply_guidance(strong, weak, factor_at(self.scale, level, strong))


def apply_guidance(conditional: X, unconditional: X, scale: float | Array) -> X:
    r"""$u + w (c - u)$: ``w = 0`` is unconditional, ``w = 1`` conditional, more pushes on.

    Its weights sum to 1, so it says the same on noise, on $x_0$ and on anything affine in them.

    Args:
        conditional: output under the condition, ``(batch, ...)``.
        unconditional: output without, of the same shape.
        scale: w, one number or an array that broadcasts to the outputs.

    Raises:
        ValueError: if the two outputs differ in shape, or for a number that is not finite.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598
    """
    if conditional.shape != unconditional.shape:
        raise ValueError(
            f"conditional and unconditional must be of one shape, got {conditional.shape} and {unconditional.shape}"
        )
    if not isinstance(scale, jax.Array):
        check_number("scale", scale)
    c, u = conditional, unconditional
    if type(scale) not in (int, float):
        w = jnp.asarray(scale)
        wide = common_dtype(w.dtype, c.dtype, u.dtype)
        scale, c, u = jax.lax.broadcast_to_rank(w.astype(wide), c.ndim), c.astype(wide), u.astype(wide)
    return (u + scale * (c - u)).astype(conditional.dtype)


def as_rule(rule: Rule | Scale) -> Rule:
    """A rule as it is, and a bare scale as the linear rule."""
    return rule if isinstance(rule, Rule) else LinearRule(rule)
