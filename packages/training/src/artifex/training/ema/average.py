"""The protocol of parameter averages, and the trivial average."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int

Parameters = nnx.State[Any, Any]
A = TypeVar("A")
P = TypeVar("P")


@runtime_checkable
class Average(Protocol[A]):
    """A running average of parameters, as a pure function from state to state; ``A`` is a pytree of arrays."""

    def init(self, parameters: Parameters) -> A:
        """Initialize the state; its buffers are copies."""
        ...

    def update(self, average: A, parameters: Parameters, k: Int[Array, ""] | int) -> A:
        """Update the state with the ``parameters`` after update ``k``, counted from 1."""
        ...

    def read(self, average: A) -> Parameters:
        """Return the averaged parameters."""
        ...


@dataclass(frozen=True)
class Latest:
    """No average: samples are drawn with the latest parameters."""

    def init(self, parameters: P) -> P:
        """Copy the parameters."""
        out: P = jax.tree.map(jnp.array, parameters)
        return out

    def update(self, average: P, parameters: P, k: Int[Array, ""] | int) -> P:
        """Return the parameters."""
        return parameters

    def read(self, average: P) -> P:
        """Return the parameters."""
        return average
