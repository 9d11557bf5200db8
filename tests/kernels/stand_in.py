"""Bodies for devices that are not there, run by an interpreter in their place."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from artifex.kernels import Implementation
from artifex.kernels.dispatch import Body

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def stand_in(bodies: Mapping[Implementation, Body[P, R]], name: Implementation, run: Callable[P, R]) -> Iterator[None]:
    """While it lasts, ``name`` of ``bodies`` runs ``run``."""
    assert isinstance(bodies, dict)
    before = bodies[name]
    bodies[name] = Body(run)
    try:
        yield
    finally:
        bodies[name] = before
