"""Times that can be compared: all take turns on the same inputs, so what else the machine does meets them all."""

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
"""The fewest and the most turns."""


def finish(run: Run) -> None:
    """Calls ``run`` and waits until its last result is there."""
    jax.block_until_ready(run())  # type: ignore[no-untyped-call]


def seconds(run: Run) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    finish(run)
    return time.perf_counter() - start


def rounds_within(budget: float, a_round: float) -> int:
    """How many rounds of ``a_round`` seconds fill ``budget`` seconds, within ``ROUNDS``."""
    return min(max(int(budget / a_round), ROUNDS[0]), ROUNDS[1])


def repeated(function: Function, times: int) -> Function:
    """``function`` so many times in one program, as a loop calls it: what the host takes to start it is then shared.

    Each call's arguments wait for the call before, so none is left out or moved before the loop.
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
    """The median over the rounds of their time by ours: above 1, we are the faster."""
    return median(their / our for our, their in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Times:
    """Seconds of each racer, round by round."""

    of: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """The median time of one."""
        return median(self.of[name])

    def speedup(self, name: str, over: str) -> float:
        """``speedup`` of one racer over another."""
        return speedup(self.of[name], self.of[over])

    def spread(self, name: str) -> float:
        """Half of all rounds lie within so much of each other, by the median: how noisy the machine was."""
        low, middle, high = quantiles(self.of[name], n=4)
        return (high - low) / middle


def race(runs: Mapping[str, Run], budget: float = 1.0) -> Times:
    """Lets all of ``runs`` take turns, one call each a round, after one call each that compiles.

    Args:
        runs: at least one, by name.
        budget: seconds for all rounds together, kept to where ``ROUNDS`` allows.
    """
    for run in runs.values():
        finish(run)
    rounds = rounds_within(budget, sum(seconds(run) for run in runs.values()))
    times: dict[str, list[float]] = {name: [] for name in runs}
    there = list(runs)
    for i in range(rounds):
        # There and back: whoever follows another finds the caches as that one left them.
        for name in there if i % 2 == 0 else reversed(there):
            times[name].append(seconds(runs[name]))
    return Times({name: tuple(values) for name, values in times.items()})
