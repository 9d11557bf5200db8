"""How a kernel picks one of its bodies: once, while tracing, by name or by what is known to be fastest."""

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, ParamSpec, TypeVar

Implementation = Literal["reference", "xla", "pallas", "triton", "cudnn"]
"""``reference`` is the plain formula that every other body is checked against; the rest name a compiler."""

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("artifex.kernels")


class UnsupportedKernelError(NotImplementedError):
    """A body was asked for by name that can't run here; the message says why and what to do."""


def resolve(
    kernel: str,
    implementation: Implementation | None,
    bodies: Mapping[Implementation, Callable[P, R]],
    default: Implementation,
) -> Callable[P, R]:
    """The body of ``kernel`` that ``implementation`` names, or ``default`` where it is None.

    Raises:
        UnsupportedKernelError: if the kernel has no such body. A named body is never replaced by another.
    """
    name = default if implementation is None else implementation
    if name not in bodies:
        raise UnsupportedKernelError(f"{kernel} has no {name!r} body; expected one of {sorted(bodies)} or None")
    _log_choice(kernel, name)
    return bodies[name]


@cache
def _log_choice(kernel: str, name: str) -> None:
    """Says once a process which body runs."""
    _log.info("%s runs its %s body", kernel, name)
