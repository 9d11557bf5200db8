"""Skip-layer guidance: away from a transformer without some of its blocks."""

from typing import Generic, TypeVar

from artifex.guidance.contrast import Call, steer
from artifex.guidance.perturb import check, perturb
from artifex.guidance.rule import Rule
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser
from artifex.schedules.arrays import record, static

C = TypeVar("C")


@record
class SkipLayers(Generic[C]):
    r"""$x_0^- + w\, (x_0 - x_0^-)$, where $x_0^-$ comes from the transformer without some of its blocks.

    The condition is optional.

    Attributes:
        layers: paths of the blocks within the network, such as ``("blocks.7", "blocks.8", "blocks.9")``.
        rule: w, or another rule. The default is that of Stable Diffusion 3.5, whose scale is 2.8 = w - 1, for use with
            classifier-free guidance in ``Combined``.

    Raises:
        ValueError: if the scale is not finite, or there are no layers.
        TypeError: when applied to a denoiser that cannot disable parts of its network.

    References: Hyung et al. 2024, https://arxiv.org/abs/2411.18664
    """

    layers: tuple[str, ...] = static()
    rule: Rule | Scale = 3.8

    def __post_init__(self) -> None:
        check(self.layers, self.rule)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser."""
        return steer(denoiser, cond, self)

    def weak(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Call[C]:
        """The network without the blocks, under the same condition."""
        return perturb(denoiser, skip=self.layers), cond
