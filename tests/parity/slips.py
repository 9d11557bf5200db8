"""Tables with the slips of other libraries in them, and one method that is simply another."""

from dataclasses import dataclass, replace

import numpy as np

from artifex.samplers import (
    Ddpm,
    Stage,
    Tableau,
    ddim_weights,
    lean,
    levels,
    moments,
    multistep,
    path_of,
    singlestep,
    tabulate,
)
from artifex.samplers.path import choose
from artifex.samplers.tableau import split_end
from artifex.schedules import Host, NoiseLevel, Schedule


@dataclass(frozen=True)
class AssumedGap:
    """DDIM that takes for granted that a step goes ``n // k`` times down, wherever the next call is."""

    train: int = 1000

    def tableau(self, schedule: Schedule, times: Host) -> Tableau[Host]:
        t, end = split_end(levels(schedule, times))
        s = schedule.at(np.maximum(times[:-1] - self.train // (len(times) - 1), -1.0))
        keep, fresh, _ = ddim_weights(t, s, 0.0)
        return tabulate(t, end, np.stack([keep, np.zeros_like(keep), fresh], axis=1))


@dataclass(frozen=True)
class NoisyEnd:
    """DDPM with the large variance, which adds noise to the clean data at the end too."""

    def tableau(self, schedule: Schedule, times: Host) -> Tableau[Host]:
        table = Ddpm("large").tableau(schedule, times)
        last = np.append(table.noise[:-1], table.level.sigma[-1])
        return replace(table, noise=last)


@dataclass(frozen=True)
class Negated3M:
    """The SDE form of DPM-Solver++(3M), with half the weight of the second difference, less a whole one."""

    def tableau(self, schedule: Schedule, times: Host) -> Tableau[Host]:
        steps = path_of(schedule, times)
        orders = steps.orders(3, lower_final=None)
        integrals = moments(2 * steps.h, 2) / [1, 2] - [0, 1]
        integrals[orders == 2, 0] = -np.expm1(-2 * steps.h[orders == 2]) / 2
        older = steps.b.alpha[:, None] * lean(steps.nodes(2), integrals, orders)
        return multistep(steps, older, share=steps.shrink)


@dataclass(frozen=True)
class OnGrid:
    """DPM-Solver++ of singlestep form, whose inner calls lie on the grid itself.

    As many steps of ``order`` calls as leave at least one of a single call for the end.

    Attributes:
        order: 2 or 3.
    """

    order: int

    def tableau(self, schedule: Schedule, times: Host) -> Tableau[Host]:
        count = (len(times) - 2) // self.order
        inner = count * self.order
        steps = path_of(schedule, np.append(times[: inner : self.order], times[inner:]))
        single = np.arange(steps.steps) >= count
        stages: list[Stage] = []
        before = np.ones(steps.steps)
        for j in range(1, self.order):
            here = np.where(single, times[-1], np.resize(times[j : inner : self.order], steps.steps))
            level: NoiseLevel[Host] = choose(~single, schedule.at(here), steps.b)
            place = np.where(single, 1.0, (level.logsnr / 2 - steps.half) / steps.h)
            if stages:
                stages[-1] = replace(stages[-1], data=_half(level.alpha, place * steps.h) * place / before)
            weight = moments(steps.h, 1)[:, 0] * steps.b.alpha if self.order == 3 else _half(steps.b.alpha, steps.h)
            stages.append(Stage(level, data=weight / place))
            before = place
        return singlestep(steps, stages, single=single)


def _half(alpha: Host, h: Host) -> Host:
    """The weight of a slope by the midpoint rule."""
    return np.asarray(-alpha * np.expm1(-h) / 2)
