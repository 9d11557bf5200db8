"""Grids of times by name."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from artifex.generative_models.interop import Scheduler
from artifex.schedules import Discrete, grid
from artifex.schedules.arrays import HostArray

Spacing = Callable[[int, int], HostArray]
CHAIN: Final[Mapping[str, Spacing]] = {
    "leading": grid.leading,
    "linspace": grid.linspace,
    "quadratic": grid.quadratic,
    "trailing": grid.trailing,
}
NOISE: Final = {"exponential": grid.exponential, "karras": grid.karras, "logsnr_uniform": grid.logsnr_uniform}
GRIDS: Final = (*CHAIN, *NOISE)
"""Names of grids; those of ``CHAIN`` need a chain of steps."""


def named_grid(name: str, scheduler: Scheduler, steps: int) -> HostArray:
    """The times of a named grid; those by noise level span the scheduler's own calls.

    Raises:
        ValueError: for an unknown name, or a grid on a chain for a schedule without one.
    """
    schedule = scheduler.schedule
    if name in CHAIN:
        if not isinstance(schedule, Discrete):
            raise ValueError(f"grid {name!r} needs a chain of steps, got the schedule {schedule}")
        return CHAIN[name](schedule.steps, steps)
    if name not in NOISE:
        raise ValueError(f"grid must be one of {', '.join(GRIDS)}, got {name!r}")
    calls = scheduler.times(max(steps, 2))[:-1]
    return np.asarray(NOISE[name](schedule, steps, float(calls[0]), float(calls[-1])))
