"""What an average of parameters is to the training loop, and the least of them."""

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
        """Before the first update; its buffers are its own."""
        ...

    def update(self, average: A, parameters: Parameters, k: Int[Array, ""] | int) -> A:
        """After update ``k``, counted from 1, which gave ``parameters``."""
        ...

    def read(self, average: A) -> Parameters:
        """What samples are drawn with."""
        ...


@dataclass(frozen=True)
class Latest:
    """No average: samples are drawn with the latest parameters."""

    def init(self, parameters: P) -> P:
        """The first parameters."""
        out: P = jax.tree.map(jnp.array, parameters)
        return out

    def update(self, average: P, parameters: P, k: Int[Array, ""] | int) -> P:
        """The parameters."""
        return parameters

    def read(self, average: P) -> P:
        """The parameters."""
        return average
