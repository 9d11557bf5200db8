"""Rules that combine a strong and a weak prediction."""

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
    """A combination of a strong and a weak $x_0$; a scale of 1 returns the strong one unchanged."""

    @property
    def scale(self) -> Scale:
        """The distance from the weak towards the strong prediction: 1 arrives there, more goes beyond."""
        ...

    def combine(self, strong: X, weak: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The guided $x_0$ at ``x_t``; ``strong`` and ``weak`` have the shape of ``x_t``."""
        ...


@record
class LinearRule:
    r"""$x_0^- + w\, (x_0^+ - x_0^-)$: ``w = 0`` is weak, ``w = 1`` strong, more extrapolates.

    Attributes:
        scale: w, any finite number, one per sample, or a function of the noise level.

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
    r"""$u + w (c - u)$: ``w = 0`` is unconditional, ``w = 1`` conditional, more extrapolates.

    Its weights sum to 1, so it is the same for noise, $x_0$ and anything affine in them.

    Args:
        conditional: output under the condition, ``(batch, ...)``.
        unconditional: output without it, of the same shape.
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
    """Return a rule unchanged, and a bare scale as the linear rule."""
    return rule if isinstance(rule, Rule) else LinearRule(rule)
