"""One workload: everybody computes the same, then all race, beside a plain copy of as many bytes."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from artifex.kernels import UnsupportedKernelError
from artifex.training.bench.machine import copying
from artifex.training.bench.race import Function, race, repeated
from artifex.training.bench.workloads import Arguments, Workload

COPY: Final = "copy"
"""The racer that moves the bytes and computes nothing."""


class WrongResultError(AssertionError):
    """Two implementations of a kernel, or an implementation and a peer, give other numbers on the same inputs."""


@dataclass(frozen=True)
class Racer:
    """How one implementation or peer did.

    Attributes:
        seconds: median time of a call.
        spread: half of the rounds lie within so much of each other, by the median.
        speedup: over the reference and every peer, by name: median over the rounds of its time by this one's.
        of_copy: median over the rounds of the time of a copy of the same bytes by this one's: 1 is as fast as such an
            array can be moved; a small one, that stays in a cache, faster than memory.
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
        fastest: the kernel's implementations, the fastest first.
        racers: by name of implementation or peer.
        left_out: why an implementation did not run, by its name.
    """

    kernel: str
    case: str
    direction: str
    dtype: str
    batch: int
    bytes: int
    flops: float
    fastest: list[str]
    racers: dict[str, Racer]
    left_out: dict[str, str]


def measure(workload: Workload, matmul_rate: float, tolerance: float, times: int, budget: float) -> Result:
    """Compares the results of all implementations and peers, then lets them race.

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
    implementations, left_out = runnable(workload, arguments)
    size = workload.bytes()
    copy, source = copying(size)
    programs = {name: jax.jit(repeated(f, times)) for name, f in {**implementations, **workload.peers}.items()}
    errors = compare(workload.name, programs, arguments, tolerance)
    copy_program = jax.jit(repeated(copy, times))
    runs = {name: lambda program=program: program(*arguments) for name, program in programs.items()}
    raced = race({**runs, COPY: lambda: copy_program(source)}, budget)
    racers = {
        name: Racer(
            seconds=raced.median(name) / times,
            spread=raced.spread(name),
            speedup={over: raced.speedup(name, over) for over in ("reference", *workload.peers)},
            of_copy=raced.speedup(name, COPY),
            of_matmul=workload.flops * times / raced.median(name) / matmul_rate if workload.products else None,
            error=errors[name],
        )
        for name in programs
    }
    return Result(
        kernel=workload.kernel,
        case=workload.case,
        direction=workload.direction,
        dtype=jnp.dtype(workload.dtype).name,
        batch=workload.batch,
        bytes=size,
        flops=workload.flops,
        fastest=sorted(implementations, key=lambda name: racers[name].seconds),
        racers=racers,
        left_out=left_out,
    )


def runnable(workload: Workload, arguments: Arguments) -> tuple[dict[str, Function], dict[str, str]]:
    """The implementations that run here, and why the others don't."""
    implementations: dict[str, Function] = {}
    left_out: dict[str, str] = {}
    for name, implementation in workload.implementations.items():
        try:
            jax.eval_shape(implementation, *arguments)
        except UnsupportedKernelError as error:
            left_out[name] = str(error)
        else:
            implementations[name] = implementation
    return implementations, left_out


def compare(what: str, programs: Mapping[str, Function], arguments: Arguments, tolerance: float) -> dict[str, float]:
    """How far each result lies from the reference's, by its largest number.

    Raises:
        WrongResultError: if one lies further off than ``tolerance``.
    """
    # Compiling takes most of the time, and needs no lock.
    with ThreadPoolExecutor() as pool:
        results = dict(zip(programs, pool.map(lambda program: program(*arguments), programs.values()), strict=True))
    errors = {name: difference(result, results["reference"]) for name, result in results.items()}
    for name, error in errors.items():
        if not error <= tolerance:
            raise WrongResultError(f"{what}: {name} must be within {tolerance:g} of the reference, got {error:.2g}")
    return errors


def difference(got: PyTree[Array], want: PyTree[Array]) -> float:
    """The largest difference by the largest number wanted, over each array; the worst of them."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a64, b64 = np.asarray(a, np.float64), np.asarray(b, np.float64)
        off = float(np.max(np.abs(a64 - b64)) / max(np.max(np.abs(b64)), np.finfo(np.float64).tiny))
        worst = max(worst, off if off == off else np.inf)
    return worst
