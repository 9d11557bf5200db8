"""How a kernel picks one of its implementations: once, while tracing, by name or by what is known to be fastest."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, Literal, ParamSpec, TypeVar

ImplementationName = Literal["reference", "xla", "pallas", "triton", "cudnn", "winograd", "polyphase"]
"""``reference`` is the plain formula that all others are checked against; these name a compiler, library or method."""

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("artifex.kernels")


class UnsupportedKernelError(NotImplementedError):
    """An implementation was asked for by name that can't run here; the message says why and what to do."""


def anywhere(*args: object, **kwargs: object) -> None:
    """The check of an implementation that runs on every platform, with every dtype and shape."""


@dataclass(frozen=True)
class Implementation(Generic[P, R]):
    """One way to compute a kernel.

    Attributes:
        run: computes it.
        unsupported_reason: takes the same arguments; why ``run`` refuses them here (platform, dtype, shape, a missing
            extra and how to install it); None where it can.
    """

    run: Callable[P, R]
    unsupported_reason: Callable[P, str | None] = anywhere


def dispatch(
    kernel: str,
    implementation: ImplementationName | None,
    implementations: Mapping[ImplementationName, Implementation[P, R]],
    fastest: Sequence[ImplementationName],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Runs the implementation of ``kernel`` that ``implementation`` names.

    Args:
        kernel: its name, for messages.
        implementation: an implementation's name; None takes the first of ``fastest`` that can run here.
        implementations: all there are.
        fastest: what is known for this platform, these shapes and dtypes, fastest first; the last one runs anywhere.
        args: for the implementation.
        kwargs: for the implementation.

    Raises:
        UnsupportedKernelError: if the kernel has no implementation of that name, or if it can't run here. A named
            implementation is never replaced by another.
    """
    if implementation is None:
        name = next(name for name in fastest if implementations[name].unsupported_reason(*args, **kwargs) is None)
    elif implementation not in implementations:
        raise UnsupportedKernelError(
            f"{kernel} has no {implementation!r} implementation; expected one of {sorted(implementations)} or None"
        )
    elif (reason := implementations[implementation].unsupported_reason(*args, **kwargs)) is not None:
        raise UnsupportedKernelError(f"{kernel} can't run its {implementation!r} implementation here: {reason}")
    else:
        name = implementation
    _log_choice(kernel, name)
    return implementations[name].run(*args, **kwargs)


@cache
def _log_choice(kernel: str, name: str) -> None:
    """Says once a process which implementation runs."""
    _log.info("%s runs its %s implementation", kernel, name)
