"""The benchmark of the kernels: correctness first, then speed."""

import math
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from artifex.training.bench.check import check_implementations, check_noise
from artifex.training.bench.machine import copy_rate, device_name, matmul_rate, versions
from artifex.training.bench.measure import Result, measure
from artifex.training.bench.report import Report
from artifex.training.bench.workloads import Kernel, Workload, workloads

TOLERANCE = {"forward": 1.0, "gradient": 4.0}
"""Factors on the tolerance; gradients sum more numbers."""


def run(kernels: Sequence[Kernel[Any]], seconds: float, show: Callable[[str], None]) -> Report:
    """Check and measure ``kernels`` on the default device.

    Args:
        kernels: of ``artifex.training.bench.kernels.KERNELS``.
        seconds: time limit, after which remaining workloads are skipped and listed in the report.
        show: called with the current activity.

    Raises:
        WrongResultError: if an implementation is wrong; nothing is timed then.
    """
    deadline = time.monotonic() + seconds
    on_cpu = jax.default_backend() == "cpu"
    dtype = jnp.float32 if on_cpu else jnp.bfloat16
    # A GPU runs many calls at once, so that their launch overhead is not what is measured.
    times = 1 if on_cpu else 20
    checks: list[str] = []
    for kernel in kernels:
        show(f"checking {kernel.name}")
        checks.extend(check_implementations(kernel))
    if any(kernel.name == "linear_step" for kernel in kernels):
        show("checking noise")
        checks.extend(check_noise())

    show("copying and multiplying")
    load = [_load()]
    copying, multiplying = [copy_rate(times)], [matmul_rate(dtype, times)]
    results: list[Result] = []
    skipped: list[str] = []
    # A second of work for a CPU; the reference takes several times as long.
    limit = 5e10 if on_cpu else math.inf
    for job in _in_order(kernels, dtype, on_cpu, limit):
        if time.monotonic() > deadline:
            skipped.append(job.name)
            continue
        show(job.name)
        tolerance = (1e-4 if on_cpu else 3e-2) * TOLERANCE[job.direction]
        results.append(measure(job, multiplying[0], tolerance, times, 2.0 if on_cpu else 0.3))
    copying.append(copy_rate(times))
    multiplying.append(matmul_rate(dtype, times))
    load.append(_load())
    return Report(
        device=device_name(),
        date=datetime.now(UTC).date().isoformat(),
        versions=versions(),
        copy_rate=(copying[0], copying[1]),
        matmul_rate=(multiplying[0], multiplying[1]),
        noise=median(racer.spread for result in results for racer in result.racers.values()) if results else 0.0,
        load=None if None in load else (load[0] or 0.0, load[1] or 0.0),
        checks=checks,
        results=sorted(results, key=lambda result: [kernel.name for kernel in kernels].index(result.kernel)),
        skipped=skipped,
    )


def _in_order(kernels: Sequence[Kernel[Any]], dtype: DTypeLike, few: bool, limit: float) -> list[Workload]:
    """Order workloads round-robin by kernel, so that all kernels are measured if time runs out."""
    columns = [list(workloads(kernel, dtype, few, limit)) for kernel in kernels]
    longest = max(len(column) for column in columns)
    return [column[i] for i in range(longest) for column in columns if i < len(column)]


def _load() -> float | None:
    """Return the load average of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
