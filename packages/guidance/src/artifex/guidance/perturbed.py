"""Away from the same network with a part of it switched off: perturbed attention, skipped layers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar, runtime_checkable

from jaxtyping import Array, Float

from artifex.guidance.contrast import Call, steer
from artifex.guidance.rule import Rule, as_rule
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser, Estimate, NetworkDenoiser, record, static

C = TypeVar("C")
P = TypeVar("P")
X = Float[Array, "b *d"]
Time = Float[Array, " b"]


@runtime_checkable
class Perturbable(Protocol):
    """The ``apply`` of a ``NetworkDenoiser`` that knows how to switch parts of its network off."""

    def perturbed(
        self, *, identity_attention: tuple[str, ...] = (), skip: tuple[str, ...] = ()
    ) -> Callable[..., Estimate]:
        """The network with identity attention, or without the block, at each of these paths."""
        ...


@record
class PerturbedAttention(Generic[C]):
    r"""$x_0^- + w\, (x_0 - x_0^-)$, where $x_0^-$ comes with chosen attention maps replaced by the identity.

    It needs no condition. The paper writes $s = w - 1$, and uses $s = 3$ in the middle of a U-Net.

    Attributes:
        layers: paths of the attention within the network, such as ``("middle",)`` or ``("blocks.5",)``.
        rule: w, or another rule.

    Raises:
        ValueError: if the scale is not finite, or no layer is named.
        TypeError: when applied to a denoiser that can't switch parts of its network off.

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


@record
class SkipLayers(Generic[C]):
    r"""$x_0^- + w\, (x_0 - x_0^-)$, where $x_0^-$ comes from the transformer without some of its blocks.

    It needs no condition.

    Attributes:
        layers: paths of the blocks within the network, such as ``("blocks.7", "blocks.8", "blocks.9")``.
        rule: w, or another rule. The default, beside classifier-free guidance in ``Together``, is that of Stable
            Diffusion 3.5, which writes 2.8 = w - 1.

    Raises:
        ValueError: if the scale is not finite, or no layer is named.
        TypeError: when applied to a denoiser that can't switch parts of its network off.

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


def check(layers: tuple[str, ...], rule: Rule | Scale) -> None:
    """Raises a ValueError for no layers or a scale that is not finite."""
    if not layers:
        raise ValueError(f"layers must name at least one, got {layers}")
    as_rule(rule)


def perturb(
    denoiser: ConditionalDenoiser[C], *, identity_attention: tuple[str, ...] = (), skip: tuple[str, ...] = ()
) -> ConditionalDenoiser[C]:
    """The denoiser with parts of its network switched off, and the same parameters.

    Raises:
        TypeError: if it is no ``NetworkDenoiser``, or its ``apply`` not ``Perturbable``.
    """
    if not isinstance(denoiser, NetworkDenoiser) or not isinstance(denoiser.apply, Perturbable):
        raise TypeError(
            "only a NetworkDenoiser whose apply has a method perturbed can switch parts of its network off, "
            f"got {type(denoiser).__name__}"
        )
    return replace(denoiser, apply=denoiser.apply.perturbed(identity_attention=identity_attention, skip=skip))
