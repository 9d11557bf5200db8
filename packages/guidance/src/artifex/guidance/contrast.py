r"""Guidance by contrast: a strong prediction, a weak one and a rule, as in classifier-free guidance.

A contrast chooses the weak prediction: that without a condition, that of a smaller network, or that of the network with
a part disabled. A rule combines it with the strong one. Every contrast works with every rule.
"""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp

from artifex.guidance.base import Bound
from artifex.guidance.interval import Interval
from artifex.guidance.rule import Rule, apply_guidance, as_rule
from artifex.guidance.scales import Scale, factor_at, scale_at
from artifex.schedules import ConditionalDenoiser, Denoiser, NoiseLevel, split_variance
from artifex.schedules.arrays import record
from artifex.schedules.shapes import Estimate, X

C = TypeVar("C")
Call = tuple[ConditionalDenoiser[C], C | None]
"""A denoiser and its condition."""


@runtime_checkable
class Contrast(Protocol[C]):
    """A weak prediction and a rule."""

    @property
    def rule(self) -> Rule | Scale:
        """The rule that combines the two predictions; a bare scale is the linear rule."""
        ...

    def weak(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Call[C]:
        """The call of the weak prediction; the strong one is ``denoiser`` under ``cond``."""
        ...


def steer(denoiser: ConditionalDenoiser[C], cond: C | None, *contrasts: Contrast[C]) -> Denoiser:
    """The denoiser guided away from all weak predictions; those with a plain scale of 1 are never called."""
    active = tuple(c for c in contrasts if not _is_one(as_rule(c.rule).scale))
    return _ContrastDenoiser(denoiser, cond, active) if active else Bound(denoiser, cond)


def _is_one(scale: Scale) -> bool:
    return isinstance(scale, int | float) and scale == 1


@record
class _ContrastDenoiser(Generic[C]):
    r"""$x_0^+ + \sum_i \big(\mathrm{rule}_i(x_0^+, x_0^{i-}) - x_0^+\big)$; with one contrast, its rule."""

    denoiser: ConditionalDenoiser[C]
    cond: C | None
    contrasts: tuple[Contrast[C], ...]

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The guided $x_0$; outside of a guidance interval only the strong one is evaluated."""
        scales = [as_rule(c.rule).scale for c in self.contrasts]
        if not all(isinstance(scale, Interval) for scale in scales):
            return self._guided(x_t, level)
        idle = [jnp.all(scale_at(scale, level, x_t) == 1) for scale in scales]
        out: Estimate = jax.lax.cond(
            jnp.all(jnp.stack(idle)),
            lambda: self.denoiser(x_t, level, self.cond),
            lambda: self._guided(x_t, level),
        )
        return out

    def _guided(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        calls = [(self.denoiser, self.cond), *(c.weak(self.denoiser, self.cond) for c in self.contrasts)]
        strong, *weak = evaluate(calls, x_t, level)
        rules = [as_rule(c.rule) for c in self.contrasts]
        guided = [combine(rule, strong, away, x_t, level) for rule, away in zip(rules, weak, strict=True)]
        return sum((other - strong for other in guided[1:]), start=guided[0])


def combine(rule: Rule, strong: Estimate, weak: Estimate, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
    """The rule's result on $x_0$; a learned variance is combined linearly under every rule."""
    if strong.shape != weak.shape:
        raise ValueError(f"the two predictions must be of one shape, got {strong.shape} and {weak.shape}")
    (x0, v), (weak_x0, weak_v) = split_variance(strong, x_t), split_variance(weak, x_t)
    guided = rule.combine(x0, weak_x0, x_t, level)
    if v is None or weak_v is None:
        return guided
    return jnp.concatenate([guided, apply_guidance(v, weak_v, factor_at(rule.scale, level, v))], axis=-1)


def evaluate(calls: Sequence[Call[C]], x_t: X, level: NoiseLevel[jax.Array]) -> list[Estimate]:
    """Evaluate the calls; conditional calls of the first one's denoiser run in one batch."""
    shared = calls[0][0]
    together = [cond is not None and denoiser is shared for denoiser, cond in calls]
    if sum(together) < 2:
        return [denoiser(x_t, level, cond) for denoiser, cond in calls]
    conds = [cond for (_, cond), stacked in zip(calls, together, strict=True) if stacked]
    level_each = jax.tree.map(lambda a: jnp.broadcast_to(a, x_t.shape[:1]), level)
    x_ts, levels = jax.tree.map(lambda a: jnp.concatenate([a] * len(conds)), (x_t, level_each))
    cond = jax.tree.map(lambda *parts: jnp.concatenate(parts), *conds)
    parts = iter(jnp.split(shared(x_ts, levels, cond), len(conds)))
    return [
        next(parts) if stacked else denoiser(x_t, level, cond)
        for (denoiser, cond), stacked in zip(calls, together, strict=True)
    ]
