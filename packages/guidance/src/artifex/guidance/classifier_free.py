"""Classifier-free guidance."""

from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from artifex.guidance.base import require_condition
from artifex.guidance.contrast import Call, steer
from artifex.guidance.rule import Rule, as_rule
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser
from artifex.schedules.arrays import record

C = TypeVar("C")


@record
class ClassifierFree(Generic[C]):
    r"""$$\hat x_0 = x_0(x_t, \varnothing) + w\,\big(x_0(x_t, c) - x_0(x_t, \varnothing)\big)$$.

    Attributes:
        rule: w, any finite number, one per sample, or a function of the level: 0 ignores the condition, 1 follows it.
            A plain number 1.0 costs no second evaluation. Or a rule in place of this formula.
        null: the null condition, of the structure of a condition, for one sample or for all; or a negative condition.
            With it both evaluations run in one batch; without it the denoiser is called twice, the second time with
            None.

    Raises:
        ValueError: if the scale is not finite; when applied, without a condition, or for a null that does not fit it.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598
    """

    rule: Rule | Scale
    null: C | None = None

    def __post_init__(self) -> None:
        as_rule(self.rule)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The denoiser guided towards ``cond``, whose arrays have the batch in front."""
        return steer(denoiser, require_condition(cond), self)

    def weak(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Call[C]:
        """The same denoiser without the condition."""
        cond = require_condition(cond)
        return denoiser, None if self.null is None else broadcast_condition(self.null, cond)


def broadcast_condition(other: C, cond: C) -> C:
    """Broadcast the condition ``other``, of one sample or of all, to the batch of ``cond``.

    Raises:
        ValueError: if it has another structure than ``cond``, or does not broadcast to it.
    """
    got, wanted = str(jax.tree.structure(other)), str(jax.tree.structure(cond))
    if got != wanted:
        raise ValueError(f"all conditions, and null, must have the structure {wanted}, got {got}")

    def one(a: Array, c: Array) -> Array:
        a = jnp.asarray(a, c.dtype)
        try:
            return jnp.broadcast_to(a, c.shape)
        except ValueError:
            raise ValueError(f"all conditions, and null, must broadcast to shape {c.shape}, got {a.shape}") from None

    out: C = jax.tree.map(one, other, cond)
    return out
