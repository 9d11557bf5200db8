"""Several conditions at once."""

from typing import Generic, TypeVar

import jax
from jaxtyping import Array, Float

from artifex.guidance.classifier_free import stretch
from artifex.guidance.contrast import combine, evaluate
from artifex.guidance.rule import Rule, as_rule
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser, Estimate, NoiseLevel, record

X = Float[Array, "b *d"]
C = TypeVar("C")


@record
class Composed(Generic[C]):
    r"""$x_0(\varnothing) + \sum_i w_i \big(x_0(c_i) - x_0(\varnothing)\big)$: the conditions' conjunction.

    A negative $w_i$ leads away from $c_i$. With another rule, each term is what it adds to $x_0(\varnothing)$. The
    condition is a tuple, one for each rule; all are predicted in one batch if there is a null condition.

    Attributes:
        rules: $w_i$, or other rules.
        null: the condition that means none, as in ``ClassifierFree``.

    Raises:
        ValueError: if a scale is not finite, or there are no rules; when applied, if there are not as many conditions.

    References: Liu et al. 2022, https://arxiv.org/abs/2206.01714
    """

    rules: tuple[Rule | Scale, ...]
    null: C | None = None

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("rules must hold at least one, got none")
        for rule in self.rules:
            as_rule(rule)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: tuple[C, ...]) -> Denoiser:
        """The denoiser guided towards all of ``cond``."""
        given: object = cond
        if not isinstance(given, tuple) or len(given) != len(self.rules):
            got = f"{len(given)} in a tuple" if isinstance(given, tuple) else type(given).__name__
            raise ValueError(f"the condition must be a tuple of {len(self.rules)}, one for each rule, got {got}")
        null = None if self.null is None else stretch(self.null, cond[0])
        return Composition(denoiser, cond, null, self.rules)


@record
class Composition(Generic[C]):
    """A denoiser under several conditions."""

    denoiser: ConditionalDenoiser[C]
    conds: tuple[C, ...]
    null: C | None
    rules: tuple[Rule | Scale, ...]

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The guided $x_0$."""
        free, *each = evaluate([(self.denoiser, cond) for cond in (self.null, *self.conds)], x_t, level)
        guided = [combine(as_rule(r), c, free, x_t, level) for r, c in zip(self.rules, each, strict=True)]
        return sum((other - free for other in guided[1:]), start=guided[0])
