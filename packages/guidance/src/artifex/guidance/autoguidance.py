"""Autoguidance: away from a weaker version of the same network."""

from typing import Generic, TypeVar

from artifex.guidance.contrast import Call, steer
from artifex.guidance.rule import Rule, as_rule
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser
from artifex.schedules.arrays import record

C = TypeVar("C")


@record
class Autoguidance(Generic[C]):
    r"""$x_0^-(x_t, c) + w\, \big(x_0(x_t, c) - x_0^-(x_t, c)\big)$ with a weaker network under the same condition.

    The condition is optional: without one, both networks are called without.

    Attributes:
        rule: w, or another rule.
        weaker: a smaller network, or one trained for fewer steps, on the same task.

    Raises:
        ValueError: if the scale is not finite.

    References: Karras et al. 2024, https://arxiv.org/abs/2406.02507
    """

    rule: Rule | Scale
    weaker: ConditionalDenoiser[C]

    def __post_init__(self) -> None:
        as_rule(self.rule)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser."""
        return steer(denoiser, cond, self)

    def weak(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Call[C]:
        """The weaker network under the same condition."""
        return self.weaker, cond
