"""What is measured: each kernel at the sizes of real models, with its peers, and what it must read, write and compute.

A new kernel joins by one entry of ``KERNELS``.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from artifex.kernels import DynamicThreshold, Implementation, attention, guided_combine, linear_step
from artifex.kernels.attention.api import BODIES as ATTENTION_BODIES
from artifex.kernels.cases import (
    ATTENTION,
    GUIDED_COMBINE,
    LINEAR_STEP,
    AttentionCase,
    GuidedCombineCase,
    LinearStepCase,
)
from artifex.kernels.guided_combine.api import BODIES as GUIDED_COMBINE_BODIES
from artifex.kernels.linear_step.api import BODIES as LINEAR_STEP_BODIES
from artifex.training.bench.race import Function

Direction = Literal["forward", "gradient"]
Arguments = tuple[Array, ...]


class Case(Protocol):
    """A named size; see ``artifex.kernels.cases``."""

    @property
    def name(self) -> str:
        """What the size is known by."""
        ...

    @property
    def batch(self) -> int:
        """Samples on an accelerator."""
        ...

    @property
    def few(self) -> int:
        """Samples on a CPU."""
        ...


C = TypeVar("C", bound=Case)


@dataclass(frozen=True)
class Kernel(Generic[C]):
    """How a kernel is measured.

    Attributes:
        name: its own.
        cases: its named sizes.
        bodies: the names of its bodies.
        inputs: makes its arguments, the batch in front, from a case, a batch size and a dtype.
        call: for a case and a body, the function of these arguments.
        flops: floating-point operations of one call forward.
        backward: those of a forward and backward pass by those of the forward pass; None leaves the gradient out.
        peers: other functions of the same arguments that compute the same, by name.
        products: whether it multiplies matrices, so that the rate of those bounds it too.
    """

    name: str
    cases: Sequence[C]
    bodies: Sequence[Implementation]
    inputs: Callable[[C, int, DTypeLike], Arguments]
    call: Callable[[C, Implementation | None], Function]
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
        batch: samples.
        bodies: the function of the arguments for each body, and for None, what is chosen unasked.
        peers: others that compute the same.
        inputs: makes the arguments.
        flops: floating-point operations of a call.
        products: whether these are products of matrices.
    """

    kernel: str
    case: str
    direction: Direction
    dtype: DTypeLike
    batch: int
    bodies: Mapping[Implementation | None, Function]
    peers: Mapping[str, Function]
    inputs: Callable[[], Arguments]
    flops: float
    products: bool

    @property
    def name(self) -> str:
        """Kernel, case and direction."""
        return f"{self.kernel}/{self.case}/{self.direction}"

    def bytes(self) -> int:
        """What must be moved at least: every argument read and every result written once."""
        arguments = jax.eval_shape(self.inputs)
        results = jax.eval_shape(self.bodies[None], *arguments)
        return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves((arguments, results)))


def workloads(kernel: Kernel[C], dtype: DTypeLike, few: bool, flops_below: float = math.inf) -> Iterator[Workload]:
    """Every case of ``kernel``, forward and, where it has one, with its gradient.

    Args:
        kernel: what is measured.
        dtype: of the arrays.
        few: batches as a CPU gets through them.
        flops_below: workloads of so many operations or more are left out.
    """
    factors: tuple[tuple[Direction, float], ...] = (("forward", 1.0),)
    if kernel.backward is not None:
        factors = (*factors, ("gradient", kernel.backward))
    for case in kernel.cases:
        batch = case.few if few else case.batch
        for direction, factor in factors:
            if factor * kernel.flops(case, batch) < flops_below:
                yield _workload(kernel, case, direction, dtype, batch, factor * kernel.flops(case, batch))


def _workload(kernel: Kernel[C], case: C, direction: Direction, dtype: DTypeLike, batch: int, flops: float) -> Workload:
    def turn(function: Function) -> Function:
        return gradient(function) if direction == "gradient" else function

    def inputs() -> Arguments:
        arguments = kernel.inputs(case, batch, dtype)
        if direction == "forward":
            return arguments
        out = jax.eval_shape(kernel.call(case, None), *arguments)
        return (jax.random.normal(jax.random.key(99), out.shape, out.dtype), *arguments)

    return Workload(
        kernel=kernel.name,
        case=case.name,
        direction=direction,
        dtype=dtype,
        batch=batch,
        bodies={body: turn(kernel.call(case, body)) for body in (None, *kernel.bodies)},
        peers={name: turn(peer) for name, peer in kernel.peers.items()},
        inputs=inputs,
        flops=flops,
        products=kernel.products,
    )


def gradient(function: Function) -> Function:
    """The gradient of ``sum(cotangent * function(*args))`` in every floating argument, as a function of all these."""

    def run(cotangent: Array, *args: Array) -> list[Array]:
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
    """Standard normal numbers of ``dtype``."""
    return jax.random.normal(jax.random.key(seed), shape, dtype)


# Attention


def _attention_inputs(case: AttentionCase, batch: int, dtype: DTypeLike) -> Arguments:
    sizes = (case.tokens, case.keys, case.keys)
    return tuple(normal(i, (batch, n, case.heads, case.head_dim), dtype) for i, n in enumerate(sizes))


def _attention(case: AttentionCase, body: Implementation | None) -> Function:
    return lambda q, k, v: attention(q, k, v, implementation=body)


# The linear step


def _linear_step_inputs(case: LinearStepCase, batch: int, dtype: DTypeLike) -> Arguments:
    terms = tuple(normal(i, (batch, *case.shape), dtype) for i in range(case.terms))
    return (*terms, normal(9, (batch, case.terms), jnp.float32), *([jax.random.PRNGKey(1)] if case.noise else []))


def _linear_step(case: LinearStepCase, body: Implementation | None) -> Function:
    def run(*args: Array) -> Array:
        terms, (weights, *key) = args[: case.terms], args[case.terms :]
        return linear_step(
            terms,
            weights,
            noise_scale=0.1 if key else None,
            key=key[0] if key else None,
            clip=case.clip,
            implementation=body,
        )

    return run


# The guided combination


def _guided_combine_inputs(case: GuidedCombineCase, batch: int, dtype: DTypeLike) -> Arguments:
    return (*(normal(i, (batch, *case.shape), dtype) for i in range(2)), 1 + 7 * jnp.linspace(0, 1, batch))


def _guided_combine(case: GuidedCombineCase, body: Implementation | None) -> Function:
    return lambda c, u, scale: guided_combine(
        c,
        u,
        scale,
        rescale=0.7 if case.rescale else None,
        threshold=DynamicThreshold() if case.threshold else None,
        implementation=body,
    )


KERNELS: Final = (
    Kernel(
        "attention",
        ATTENTION,
        tuple(ATTENTION_BODIES),
        _attention_inputs,
        _attention,
        flops=lambda case, batch: 4.0 * batch * case.heads * case.tokens * case.keys * case.head_dim,
        # The scores once more, and four products: the gradients of scores, queries, keys and values.
        backward=3.5,
        peers={"jax.nn": lambda q, k, v: jax.nn.dot_product_attention(q, k, v)},
        products=True,
    ),
    Kernel(
        "linear_step",
        LINEAR_STEP,
        tuple(LINEAR_STEP_BODIES),
        _linear_step_inputs,
        _linear_step,
        flops=lambda case, batch: 2.0 * (case.terms + case.noise) * batch * math.prod(case.shape),
    ),
    Kernel(
        "guided_combine",
        GUIDED_COMBINE,
        tuple(GUIDED_COMBINE_BODIES),
        _guided_combine_inputs,
        _guided_combine,
        flops=lambda case, batch: (3.0 + 6 * case.rescale + 3 * case.threshold) * batch * math.prod(case.shape),
    ),
)
"""All that there is to measure."""
