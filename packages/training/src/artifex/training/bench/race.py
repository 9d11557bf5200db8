"""Comparable times: all candidates take turns on the same inputs, so that other load affects them equally."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

import jax
from jaxtyping import Array, PyTree

Run = Callable[[], object]
Function = Callable[..., PyTree[Array]]

ROUNDS: Final = (5, 300)
"""The smallest and the largest number of rounds."""


def finish(run: Run) -> None:
    """Call ``run`` and wait for its results."""
    jax.block_until_ready(run())  # type: ignore[no-untyped-call]


def seconds(run: Run) -> float:
    """Time one call."""
    start = time.perf_counter()
    finish(run)
    return time.perf_counter() - start


def rounds_within(budget: float, a_round: float) -> int:
    """Compute the number of rounds of ``a_round`` seconds in ``budget`` seconds, within ``ROUNDS``."""
    return min(max(int(budget / a_round), ROUNDS[0]), ROUNDS[1])


def repeated(function: Function, times: int) -> Function:
    """Call ``function`` repeatedly in one program, so that the overhead of a launch is amortized.

    Each call's arguments depend on the previous call, so that XLA removes or moves none.
    """
    if times == 1:
        return function

    def run(*args: PyTree[Array]) -> PyTree[Array]:
        def again(_: Array, before: PyTree[Array]) -> PyTree[Array]:
            now, _ = jax.lax.optimization_barrier((args, before))  # type: ignore[no-untyped-call]
            return function(*now)

        return jax.lax.fori_loop(1, times, again, function(*args))

    return run


def speedup(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Compute the median over the rounds of their time over ours: above 1, ours is faster."""
    return median(their / our for our, their in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Times:
    """Seconds of each racer, round by round."""

    of: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """Compute the median time of one."""
        return median(self.of[name])

    def speedup(self, name: str, over: str) -> float:
        """Compute the speedup of one candidate over another."""
        return speedup(self.of[name], self.of[over])

    def spread(self, name: str) -> float:
        """Compute the interquartile range relative to the median: the noise of the machine."""
        low, middle, high = quantiles(self.of[name], n=4)
        return (high - low) / middle


def race(runs: Mapping[str, Run], budget: float = 1.0) -> Times:
    """Time ``runs`` in turns, one call each a round, after one call each to compile.

    Args:
        runs: at least one, by name.
        budget: seconds for all rounds, as far as ``ROUNDS`` allows.
    """
    for run in runs.values():
        finish(run)
    rounds = rounds_within(budget, sum(seconds(run) for run in runs.values()))
    times: dict[str, list[float]] = {name: [] for name in runs}
    forward = list(runs)
    for i in range(rounds):
        # In alternating order: each candidate finds the caches as the previous one left them.
        for name in forward if i % 2 == 0 else reversed(forward):
            times[name].append(seconds(runs[name]))
    return Times({name: tuple(values) for name, values in times.items()})
