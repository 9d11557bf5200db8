"""The measurement of a workload: compare all results, then time all candidates and a copy of as many bytes."""

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
"""Name of the candidate that copies the bytes."""


class WrongResultError(AssertionError):
    """Two implementations of a kernel, or an implementation and a peer, disagree on the same inputs."""


@dataclass(frozen=True)
class Racer:
    """The times of one implementation or peer.

    Attributes:
        seconds: median time of a call.
        spread: interquartile range of the rounds, relative to the median.
        speedup: over the reference and every peer, by name: median over the rounds of their time over this one's.
        of_copy: median over the rounds of the time of a copy of the same bytes over this one's: 1 is the speed of
            memory, or of a cache for small arrays.
        of_matmul: its rate of operations relative to that of matrix products, if it multiplies matrices.
        error: largest difference from the reference, relative to the reference's largest value.
    """

    seconds: float
    spread: float
    speedup: dict[str, float]
    of_copy: float
    of_matmul: float | None
    error: float


@dataclass(frozen=True)
class Result:
    """The measurements of a workload.

    Attributes:
        kernel: its name.
        case: the size's name.
        direction: forward or gradient.
        dtype: of the arrays.
        batch: number of samples.
        bytes: lower bound of the bytes to move.
        flops: floating-point operations.
        fastest: the kernel's implementations, the fastest first.
        racers: by name of implementation or peer.
        skipped: reasons why implementations did not run, by name.
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
    skipped: dict[str, str]


def measure(workload: Workload, matmul_rate: float, tolerance: float, times: int, budget: float) -> Result:
    """Compare the results of all implementations and peers, then time them.

    Args:
        workload: to measure.
        matmul_rate: operations a second of matrix products.
        tolerance: of differences, relative to the reference's largest value.
        times: calls a program.
        budget: seconds of timing.

    Raises:
        WrongResultError: if results differ by more; nothing is timed then.
    """
    arguments = workload.inputs()
    implementations, skipped = runnable(workload, arguments)
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
        skipped=skipped,
    )


def runnable(workload: Workload, arguments: Arguments) -> tuple[dict[str, Function], dict[str, str]]:
    """Return the implementations that run here, and the reasons why others don't."""
    implementations: dict[str, Function] = {}
    skipped: dict[str, str] = {}
    for name, implementation in workload.implementations.items():
        try:
            jax.eval_shape(implementation, *arguments)
        except UnsupportedKernelError as error:
            skipped[name] = str(error)
        else:
            implementations[name] = implementation
    return implementations, skipped


def compare(what: str, programs: Mapping[str, Function], arguments: Arguments, tolerance: float) -> dict[str, float]:
    """Compute the difference of each result from the reference's, relative to its largest value.

    Raises:
        WrongResultError: if one is larger than ``tolerance``.
    """
    # Compilation takes most of the time, and releases the GIL.
    with ThreadPoolExecutor() as pool:
        results = dict(zip(programs, pool.map(lambda program: program(*arguments), programs.values()), strict=True))
    errors = {name: difference(result, results["reference"]) for name, result in results.items()}
    for name, error in errors.items():
        if not error <= tolerance:
            raise WrongResultError(f"{what}: {name} must be within {tolerance:g} of the reference, got {error:.2g}")
    return errors


def difference(got: PyTree[Array], want: PyTree[Array]) -> float:
    """Compute the largest difference relative to the largest wanted value, for the worst array."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a64, b64 = np.asarray(a, np.float64), np.asarray(b, np.float64)
        off = float(np.max(np.abs(a64 - b64)) / max(np.max(np.abs(b64)), np.finfo(np.float64).tiny))
        worst = max(worst, off if off == off else np.inf)
    return worst
