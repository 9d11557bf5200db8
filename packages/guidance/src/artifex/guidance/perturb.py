"""The same network with a part of it switched off, as the weak one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar, runtime_checkable

from artifex.guidance.rule import Rule, as_rule
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, NetworkDenoiser
from artifex.schedules.shapes import Estimate

C = TypeVar("C")


@runtime_checkable
class Perturbable(Protocol):
    """The ``apply`` of a ``NetworkDenoiser`` that knows how to switch parts of its network off."""

    def perturbed(
        self, *, identity_attention: tuple[str, ...] = (), skip: tuple[str, ...] = ()
    ) -> Callable[..., Estimate]:
        """The network with identity attention, or without the block, at each of these paths."""
        ...


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
