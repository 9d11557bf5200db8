"""Bodies for devices that are not there, run by an interpreter in their place."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from artifex.kernels import ImplementationName
from artifex.kernels.dispatch import Implementation

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def stand_in(
    implementations: Mapping[ImplementationName, Implementation[P, R]], name: ImplementationName, run: Callable[P, R]
) -> Iterator[None]:
    """While it lasts, ``name`` of ``implementations`` runs ``run``."""
    assert isinstance(implementations, dict)
    before = implementations[name]
    implementations[name] = Implementation(run)
    try:
        yield
    finally:
        implementations[name] = before
