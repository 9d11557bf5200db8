"""Perturbed-attention guidance: away from a network with identity attention."""

from typing import Generic, TypeVar

from artifex.guidance.contrast import Call, steer
from artifex.guidance.perturb import check, perturb
from artifex.guidance.rule import Rule
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser
from artifex.schedules.arrays import record, static

C = TypeVar("C")


@record
class PerturbedAttention(Generic[C]):
    r"""$x_0^- + w\, (x_0 - x_0^-)$, where $x_0^-$ has chosen attention maps replaced by the identity.

    The condition is optional. The paper's scale is $s = w - 1$, with $s = 3$ in the middle of a U-Net.

    Attributes:
        layers: paths of the attention within the network, such as ``("middle",)`` or ``("blocks.5",)``.
        rule: w, or another rule.

    Raises:
        ValueError: if the scale is not finite, or there are no layers.
        TypeError: when applied to a denoiser that cannot disable parts of its network.

    References: Ahn et al. 2024, https://arxiv.org/abs/2403.17377
    """

    layers: tuple[str, ...] = static()
    rule: Rule | Scale = 4.0

    def __post_init__(self) -> None:
        check(self.layers, self.rule)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser."""
        return steer(denoiser, cond, self)

    def weak(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Call[C]:
        """The network with identity attention, under the same condition."""
        return perturb(denoiser, identity_attention=self.layers), cond
