"""Weak predictions of the same network with a part of it disabled."""

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
    """The ``apply`` of a ``NetworkDenoiser`` that can disable parts of its network."""

    def perturbed(
        self, *, identity_attention: tuple[str, ...] = (), skip: tuple[str, ...] = ()
    ) -> Callable[..., Estimate]:
        """The network with identity attention at some paths, and without the blocks at others."""
        ...


def check(layers: tuple[str, ...], rule: Rule | Scale) -> None:
    """Raise a ValueError for no layers or a scale that is not finite."""
    if not layers:
        raise ValueError(f"layers must name at least one, got {layers}")
    as_rule(rule)


def perturb(
    denoiser: ConditionalDenoiser[C], *, identity_attention: tuple[str, ...] = (), skip: tuple[str, ...] = ()
) -> ConditionalDenoiser[C]:
    """The denoiser with parts of its network disabled, and the same parameters.

    Raises:
        TypeError: if it is not a ``NetworkDenoiser``, or its ``apply`` is not ``Perturbable``.
    """
    if not isinstance(denoiser, NetworkDenoiser) or not isinstance(denoiser.apply, Perturbable):
        raise TypeError(
            "only a NetworkDenoiser whose apply has a method perturbed can disable parts of its network, "
            f"got {type(denoiser).__name__}"
        )
    return replace(denoiser, apply=denoiser.apply.perturbed(identity_attention=identity_attention, skip=skip))
