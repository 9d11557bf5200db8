"""Times that can be compared: a kernel and its peers take turns, so what else the machine does meets them all."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Final

import jax
import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

Run = Callable[[], object]

ROUNDS: Final = (3, 300)
"""The fewest and the most turns."""


def finish(run: Run) -> None:
    """Calls ``run`` and waits until its last result is there."""
    jax.block_until_ready(run())  # type: ignore[no-untyped-call]


def seconds(run: Run) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    finish(run)
    return time.perf_counter() - start


def race(benchmark: BenchmarkFixture, kernel: Run, peers: Mapping[str, Run], atol: float, budget: float = 0.8) -> None:
    """Benchmarks ``kernel``, each of its rounds behind one call of every peer on the same inputs.

    ``extra_info`` gets, for every peer, the median of ``peer's time / kernel's time`` over the rounds: above 1 the
    kernel is the faster. Compiling and a first comparison of the results come before.

    Args:
        benchmark: the fixture; where it is disabled all run once.
        kernel: what is measured.
        peers: what it is compared with, by name.
        atol: by how much the results may differ.
        budget: seconds for all rounds together, kept to where ``ROUNDS`` allows.

    Raises:
        AssertionError: if a peer's results are others than the kernel's.
    """
    want = jax.tree.map(np.asarray, kernel())
    for name, peer in peers.items():
        jax.tree.map(
            lambda a, b, name=name: np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=name), peer(), want
        )
    if benchmark.disabled:
        benchmark.pedantic(finish, args=(kernel,))  # type: ignore[no-untyped-call]
        return
    a_round = seconds(kernel) + sum(seconds(peer) for peer in peers.values())
    rounds = min(max(int(budget / a_round), ROUNDS[0]), ROUNDS[1])
    theirs: dict[str, list[float]] = {name: [] for name in peers}

    def peers_first() -> None:
        for name, peer in peers.items():
            theirs[name].append(seconds(peer))

    benchmark.pedantic(finish, args=(kernel,), setup=peers_first, rounds=rounds)  # type: ignore[no-untyped-call]
    assert benchmark.stats is not None
    ours = benchmark.stats.stats.data
    for name, times in theirs.items():
        benchmark.extra_info[f"speedup over {name}"] = round(
            median(their / our for their, our in zip(times, ours, strict=True)), 3
        )
