"""The choice of a kernel's implementation, at trace time: by name, or the fastest that is known."""

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
    """A named implementation can't run here; the message has the reason and the remedy."""


def anywhere(*args: object, **kwargs: object) -> None:
    """The check of an implementation that supports every platform, dtype and shape."""


@dataclass(frozen=True)
class Implementation(Generic[P, R]):
    """One way to compute a kernel.

    Attributes:
        run: computes it.
        unsupported_reason: takes the same arguments and returns the reason why ``run`` does not support them here
            (platform, dtype, shape, a missing extra and how to install it); None where it does.
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
    """Run the implementation of ``kernel`` named ``implementation``.

    Args:
        kernel: name of the kernel, for messages.
        implementation: name of the implementation; None takes the first of ``fastest`` that can run here.
        implementations: all implementations, by name.
        fastest: names for this platform and these arguments, fastest first; the last one runs anywhere.
        args: arguments of the implementation.
        kwargs: keyword arguments of the implementation.

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
    """Log a kernel's implementation once per process."""
    _log.info("%s runs its %s implementation", kernel, name)
