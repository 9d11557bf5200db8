"""Workloads: a kernel at a named size, forward or with its gradient, with its bytes and operations."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from artifex.kernels import ImplementationName
from artifex.training.bench.race import Function

Direction = Literal["forward", "gradient"]
Arguments = tuple[PyTree[Array], ...]


@runtime_checkable
class Case(Protocol):
    """A named size; see ``artifex.kernels.cases``."""

    @property
    def name(self) -> str:
        """Name of the size."""
        ...

    @property
    def batch(self) -> int:
        """Number of samples on an accelerator."""
        ...

    @property
    def few(self) -> int:
        """Number of samples on a CPU."""
        ...


C = TypeVar("C", bound=Case)


@dataclass(frozen=True)
class Kernel(Generic[C]):
    """A kernel with its benchmark cases.

    Attributes:
        name: of the kernel.
        cases: its named sizes.
        odd: a small odd size, to check the implementations.
        implementations: the names of its implementations.
        inputs: makes its arguments, batch first, from a case, a batch size and a dtype.
        call: the function of these arguments for a case and an implementation.
        flops: floating-point operations of one forward call.
        backward: operations of a forward and backward pass relative to the forward pass; None skips the gradient.
        peers: other functions of the same arguments that compute the same, by name.
        products: True if it multiplies matrices, so that their rate is a bound.
    """

    name: str
    cases: Sequence[C]
    odd: C
    implementations: Sequence[ImplementationName]
    inputs: Callable[[C, int, DTypeLike], Arguments]
    call: Callable[[C, ImplementationName], Function]
    flops: Callable[[C, int], float]
    backward: float | None = None
    peers: Mapping[str, Function] = field(default_factory=dict)
    products: bool = False


@dataclass(frozen=True)
class Workload:
    """A kernel at one size, dtype and direction.

    Attributes:
        kernel: its name.
        case: the size's name.
        direction: the value alone, or the gradient of its inner product with fixed numbers.
        dtype: of the arrays.
        batch: number of samples.
        implementations: the function of the arguments for each implementation.
        peers: others that compute the same.
        inputs: makes the arguments.
        flops: floating-point operations of a call.
        products: True for products of matrices.
    """

    kernel: str
    case: str
    direction: Direction
    dtype: DTypeLike
    batch: int
    implementations: Mapping[ImplementationName, Function]
    peers: Mapping[str, Function]
    inputs: Callable[[], Arguments]
    flops: float
    products: bool

    @property
    def name(self) -> str:
        """Kernel, case and direction."""
        return f"{self.kernel}/{self.case}/{self.direction}"

    def bytes(self) -> int:
        """Compute a lower bound of the bytes to move: every argument is read and every result written once."""
        arguments = jax.eval_shape(self.inputs)
        results = jax.eval_shape(self.implementations["reference"], *arguments)
        return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves((arguments, results)))


def workloads(kernel: Kernel[C], dtype: DTypeLike, few: bool, flops_below: float = math.inf) -> Iterator[Workload]:
    """Yield every case of ``kernel``, forward and, if it has one, with its gradient.

    Args:
        kernel: to measure.
        dtype: of the arrays.
        few: use the batch sizes for a CPU.
        flops_below: skip workloads of this many operations or more.
    """
    factors: tuple[tuple[Direction, float], ...] = (("forward", 1.0),)
    if kernel.backward is not None:
        factors = (*factors, ("gradient", kernel.backward))
    for case in kernel.cases:
        batch = case.few if few else case.batch
        for direction, factor in factors:
            if factor * kernel.flops(case, batch) < flops_below:
                yield workload(kernel, case, direction, dtype, batch, factor * kernel.flops(case, batch))


def workload(kernel: Kernel[C], case: C, direction: Direction, dtype: DTypeLike, batch: int, flops: float) -> Workload:
    """Make the workload of ``kernel`` at ``case``, with ``flops`` operations a call."""

    def turn(function: Function) -> Function:
        return gradient(function) if direction == "gradient" else function

    def inputs() -> Arguments:
        arguments = kernel.inputs(case, batch, dtype)
        if direction == "forward":
            return arguments
        out = jax.eval_shape(kernel.call(case, "reference"), *arguments)
        return (jax.tree.map(lambda x: normal(99, x.shape, x.dtype), out), *arguments)

    return Workload(
        kernel=kernel.name,
        case=case.name,
        direction=direction,
        dtype=dtype,
        batch=batch,
        implementations={
            implementation: turn(kernel.call(case, implementation)) for implementation in kernel.implementations
        },
        peers={name: turn(peer) for name, peer in kernel.peers.items()},
        inputs=inputs,
        flops=flops,
        products=kernel.products,
    )


def gradient(function: Function) -> Function:
    """Differentiate ``sum(cotangent * function(*args))`` by every floating argument, as a function of all of them."""

    def run(cotangent: PyTree[Array], *args: Array) -> list[Array]:
        floating = [i for i, x in enumerate(args) if jnp.issubdtype(x.dtype, jnp.floating)]

        def of(moving: list[Array]) -> PyTree[Array]:
            full = list(args)
            for i, x in zip(floating, moving, strict=True):
                full[i] = x
            return function(*full)

        _, vjp = jax.vjp(of, [args[i] for i in floating])
        return list(vjp(cotangent)[0])

    return run


def normal(seed: int, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Draw standard normal numbers of ``dtype``."""
    return jax.random.normal(jax.random.key(seed), shape, dtype)
