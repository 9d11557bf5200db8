"""How a kernel picks one of its bodies: once, while tracing, by name or by what is known to be fastest."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, Literal, ParamSpec, TypeVar

Implementation = Literal["reference", "xla", "pallas", "triton", "cudnn"]
"""``reference`` is the plain formula that every other body is checked against; the rest name a compiler."""

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("artifex.kernels")


class UnsupportedKernelError(NotImplementedError):
    """A body was asked for by name that can't run here; the message says why and what to do."""


def anywhere(*args: object, **kwargs: object) -> None:
    """The check of a body that runs on every platform, with every dtype and shape."""


@dataclass(frozen=True)
class Body(Generic[P, R]):
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
    implementation: Implementation | None,
    bodies: Mapping[Implementation, Body[P, R]],
    fastest: Sequence[Implementation],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Runs the body of ``kernel`` that ``implementation`` names.

    Args:
        kernel: its name, for messages.
        implementation: a body's name; None takes the first of ``fastest`` that can run here.
        bodies: all there are.
        fastest: what is known for this platform, these shapes and dtypes, fastest first; the last one runs anywhere.
        args: for the body.
        kwargs: for the body.

    Raises:
        UnsupportedKernelError: if the kernel has no body of that name, or if it can't run here. A named body is never
            replaced by another.
    """
    if implementation is None:
        name = next(name for name in fastest if bodies[name].unsupported_reason(*args, **kwargs) is None)
    elif implementation not in bodies:
        raise UnsupportedKernelError(
            f"{kernel} has no {implementation!r} body; expected one of {sorted(bodies)} or None"
        )
    elif (reason := bodies[implementation].unsupported_reason(*args, **kwargs)) is not None:
        raise UnsupportedKernelError(f"{kernel} can't run its {implementation!r} body here: {reason}")
    else:
        name = implementation
    _log_choice(kernel, name)
    return bodies[name].run(*args, **kwargs)


@cache
def _log_choice(kernel: str, name: str) -> None:
    """Says once a process which body runs."""
    _log.info("%s runs its %s body", kernel, name)
