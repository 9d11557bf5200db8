"""One workload after another: everybody races, on the same inputs, beside a plain copy of as many bytes."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from artifex.kernels import UnsupportedKernelError
from artifex.training.bench.machine import copying
from artifex.training.bench.race import Function, Run, race, repeated
from artifex.training.bench.workloads import Workload

COPY = "copy"
"""The racer that moves the bytes and computes nothing."""


class WrongResultError(AssertionError):
    """Two bodies of a kernel, or a body and a peer, give other numbers on the same inputs."""


@dataclass(frozen=True)
class Racer:
    """How one body or peer did.

    Attributes:
        seconds: median time of a call.
        spread: half of the calls took times so far from each other, by the median.
        speedup: over the reference and every peer, by name: median over the rounds of its time by this one's.
        of_copy: time of a copy of the same bytes, in the same rounds, by this one's: 1 is as fast as memory allows.
        of_matmul: its rate of operations by the measured one of matrix products, where it multiplies matrices.
        error: largest difference from the reference by the reference's largest number.
    """

    seconds: float
    spread: float
    speedup: dict[str, float]
    of_copy: float
    of_matmul: float | None
    error: float


@dataclass(frozen=True)
class Result:
    """What was measured of a workload.

    Attributes:
        kernel: its name.
        case: the size's name.
        direction: forward or gradient.
        dtype: of the arrays.
        batch: samples.
        bytes: that must be moved at least.
        flops: floating-point operations.
        racers: by name of body or peer.
        left_out: why a body did not run, by its name.
    """

    kernel: str
    case: str
    direction: str
    dtype: str
    batch: int
    bytes: int
    flops: float
    racers: dict[str, Racer]
    left_out: dict[str, str]


def measure(workload: Workload, matmul_rate: float, tolerance: float, times: int, budget: float) -> Result:
    """Compares the results of all bodies and peers, then lets them race.

    Args:
        workload: what is measured.
        matmul_rate: operations a second in products of matrices.
        tolerance: by how much results may differ, by the largest number of the reference's.
        times: calls a program.
        budget: seconds of racing.

    Raises:
        WrongResultError: if they differ by more; nothing is timed then.
    """
    arguments = workload.inputs()
    functions: dict[str, Function] = {}
    left_out: dict[str, str] = {}
    for body, function in workload.bodies.items():
        if body is not None:
            try:
                jax.eval_shape(function, *arguments)
                functions[body] = function
            except UnsupportedKernelError as error:
                left_out[body] = str(error)
    functions |= workload.peers

    want = jax.jit(functions["reference"])(*arguments)
    errors = {name: difference(jax.jit(function)(*arguments), want) for name, function in functions.items()}
    for name, off in errors.items():
        if not off <= tolerance:
            raise WrongResultError(
                f"{workload.name}: {name} must agree with the reference within {tolerance:g}, got {off:.2g}"
            )

    size = workload.bytes()
    copy, source = copying(size)
    runs = {name: _program(function, times, arguments) for name, function in functions.items()}
    raced = race({**runs, COPY: _program(copy, times, (source,))}, budget)
    racers = {
        name: Racer(
            seconds=raced.median(name) / times,
            spread=raced.spread(name),
            speedup={over: raced.speedup(name, over) for over in ("reference", *workload.peers)},
            of_copy=raced.speedup(name, over=COPY),
            of_matmul=workload.flops * times / raced.median(name) / matmul_rate if workload.products else None,
            error=errors[name],
        )
        for name in functions
    }
    return Result(
        kernel=workload.kernel,
        case=workload.case,
        direction=workload.direction,
        dtype=jnp.dtype(workload.dtype).name,
        batch=workload.batch,
        bytes=size,
        flops=workload.flops,
        racers=racers,
        left_out=left_out,
    )


def difference(got: PyTree[Array], want: PyTree[Array]) -> float:
    """The largest difference by the largest number wanted, over each array; the worst of them."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a64, b64 = np.asarray(a, np.float64), np.asarray(b, np.float64)
        worst = max(worst, float(np.abs(a64 - b64).max() / max(np.abs(b64).max(), np.finfo(np.float64).tiny)))
    return worst


def _program(function: Function, times: int, arguments: tuple[Array, ...]) -> Run:
    """A compiled program of so many calls."""
    compiled = jax.jit(repeated(function, times))
    return lambda: compiled(*arguments)
