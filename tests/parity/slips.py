"""Tables with the slips of other libraries in them, and one method that is simply another."""

from dataclasses import dataclass, replace

import numpy as np

from artifex.samplers import DDPM, Tableau
from artifex.samplers.authoring import (
    ddim_weights,
    difference_weights,
    moments,
    multistep,
    steps_along,
    tabulate,
)
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class AssumedGap:
    """DDIM that takes for granted that a step goes ``n // k`` times down, wherever the next call is."""

    train: int = 1000

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        steps = steps_along(schedule, times)
        s = schedule.at(np.maximum(times[:-1] - self.train // (len(times) - 1), -1.0))
        keep, fresh, _ = ddim_weights(steps.a, s, 0.0)
        return tabulate(steps.a, steps.end, np.stack([keep, np.zeros_like(keep), fresh], axis=1))


@dataclass(frozen=True)
class NoisyEnd:
    """DDPM with the large variance, which adds noise to the clean data at the end too."""

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        table = DDPM("fixed_large").tableau(schedule, times)
        last = np.append(table.noise[:-1], table.level.sigma[-1])
        return replace(table, noise=last)


@dataclass(frozen=True)
class Negated3M:
    """The SDE form of DPM-Solver++(3M), with half the weight of the second difference, less a whole one."""

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        steps = steps_along(schedule, times)
        orders = steps.orders(3, lower_order_final=None)
        integrals = moments(2 * steps.h, 2) / [1, 2] - [0, 1]
        integrals[orders == 2, 0] = -np.expm1(-2 * steps.h[orders == 2]) / 2
        older = steps.b.alpha[:, None] * difference_weights(steps.nodes(2), integrals, orders)
        return multistep(steps, older, noise_kept=steps.exp_neg_h)
