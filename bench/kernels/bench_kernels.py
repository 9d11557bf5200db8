"""Every kernel at the sizes of real models, forward and with its gradient, beside its reference and its peers."""

import math
from typing import Final

import jax
import jax.numpy as jnp
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.training.bench.kernels import KERNELS
from artifex.training.bench.measure import compare, runnable
from artifex.training.bench.race import finish, rounds_within, seconds, speedup
from artifex.training.bench.workloads import Workload, workloads

ON_CPU: Final = jax.default_backend() == "cpu"
DTYPE: Final = jnp.float32 if ON_CPU else jnp.bfloat16
WORKLOADS: Final = [job for kernel in KERNELS for job in workloads(kernel, DTYPE, ON_CPU, 5e10 if ON_CPU else math.inf)]


@pytest.mark.parametrize("job", WORKLOADS, ids=lambda job: job.name)
def test_kernel(benchmark: BenchmarkFixture, job: Workload) -> None:
    """Time ``xla``; ``extra_info`` gets its speedup over the others, which run once before each round."""
    arguments = job.inputs()
    implementations, _ = runnable(job, arguments)
    programs = {name: jax.jit(function) for name, function in {**implementations, **job.peers}.items()}
    compare(job.name, programs, arguments, 1e-3 if ON_CPU else 0.1)
    runs = {name: lambda program=program: program(*arguments) for name, program in programs.items()}
    kernel = runs.pop("xla")
    if benchmark.disabled:
        benchmark.pedantic(finish, args=(kernel,))  # type: ignore[no-untyped-call]
        return
    theirs: dict[str, list[float]] = {name: [] for name in runs}

    def others_first() -> None:
        for name, run in runs.items():
            theirs[name].append(seconds(run))

    rounds = rounds_within(0.8, seconds(kernel) + sum(seconds(run) for run in runs.values()))
    benchmark.pedantic(finish, args=(kernel,), setup=others_first, rounds=rounds)  # type: ignore[no-untyped-call]
    assert benchmark.stats is not None
    ours = benchmark.stats.stats.data
    for name, times in theirs.items():
        benchmark.extra_info[f"speedup over {name}"] = round(speedup(ours, times), 3)
