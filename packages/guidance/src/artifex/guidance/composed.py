"""Several conditions at once."""

from typing import Generic, TypeVar

import jax

from artifex.guidance.base import require_condition
from artifex.guidance.classifier_free import broadcast_condition
from artifex.guidance.contrast import combine, evaluate
from artifex.guidance.rule import Rule, as_rule
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser, NoiseLevel
from artifex.schedules.arrays import record
from artifex.schedules.shapes import Estimate, X

C = TypeVar("C")


@record
class Composed(Generic[C]):
    r"""$x_0(\varnothing) + \sum_i w_i \big(x_0(c_i) - x_0(\varnothing)\big)$: the conjunction of conditions.

    A negative $w_i$ steers away from $c_i$. With another rule, each term is the rule's difference to
    $x_0(\varnothing)$. With a null condition all predictions run in one batch.

    Attributes:
        rule: $w$ of the condition passed at the call, or another rule.
        others: further conditions, each with its own $w_i$ or rule; of one sample or of all.
        null: the null condition, as in ``ClassifierFree``.

    Raises:
        ValueError: if a scale is not finite; when applied, without a condition, or for others of another structure.

    References: Liu et al. 2022, https://arxiv.org/abs/2206.01714
    """

    rule: Rule | Scale
    others: tuple[tuple[C, Rule | Scale], ...]
    null: C | None = None

    def __post_init__(self) -> None:
        for rule in (self.rule, *(rule for _, rule in self.others)):
            as_rule(rule)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The denoiser guided towards ``cond`` and all others."""
        return _ComposedDenoiser(denoiser, require_condition(cond), self)


@record
class _ComposedDenoiser(Generic[C]):
    """A denoiser under several conditions."""

    denoiser: ConditionalDenoiser[C]
    cond: C
    guidance: Composed[C]

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The guided $x_0$."""
        null, others = self.guidance.null, self.guidance.others
        conds = [
            None if null is None else broadcast_condition(null, self.cond),
            self.cond,
            *(broadcast_condition(other, self.cond) for other, _ in others),
        ]
        free, *each = evaluate([(self.denoiser, cond) for cond in conds], x_t, level)
        rules = [as_rule(rule) for rule in (self.guidance.rule, *(rule for _, rule in others))]
        guided = [combine(rule, x0, free, x_t, level) for rule, x0 in zip(rules, each, strict=True)]
        return sum((other - free for other in guided[1:]), start=guided[0])
