"""Interpreted substitutes for the implementations of absent devices."""

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
    """Let ``name`` of ``implementations`` run ``run`` within the context."""
    assert isinstance(implementations, dict)
    before = implementations[name]
    implementations[name] = Implementation(run)
    try:
        yield
    finally:
        implementations[name] = before
