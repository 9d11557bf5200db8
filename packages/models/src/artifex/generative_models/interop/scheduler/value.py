"""A scheduler of diffusers, taken apart."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from artifex.generative_models.interop.scheduler.singlestep import SinglestepOnGrid
from artifex.kernels import DynamicThreshold
from artifex.samplers import Sampler, Tableau
from artifex.samplers.authoring import tabulate
from artifex.schedules import Clipped, Denoiser, DynamicallyThresholded, NoiseLevel, Prediction, Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of diffusers as a schedule, a prediction, a sampler and a grid.

    Attributes:
        schedule: the path from data to noise.
        prediction: the meaning of the network's output.
        sampler: the method.
        grid: from a number of steps to the times at which diffusers calls the network, noise first, and the time at
            which it ends. The last two are equal if its last step has no effect, as in ``PNDMScheduler`` by default:
            the network is called and its output not used. See ``times``.
        clip: bound of predicted data, ``[-clip, clip]``; None for none. ``DDIMScheduler`` keeps the noise of the
            unclipped prediction; here noise and clean data are those of one ``x_t``.
        time_scale: the network's time is the schedule's, multiplied by this.
        threshold: dynamic thresholding of predicted data, in place of ``clip``; None for none.
        learned_variance: whether the network also returns the variance, in twice the channels.
    """

    schedule: Schedule
    prediction: Prediction
    sampler: Sampler
    grid: Callable[[int], HostArray]
    clip: float | None = None
    time_scale: float = 1.0
    threshold: DynamicThreshold | None = None
    learned_variance: bool = False

    def times(self, steps: int) -> HostArray:
        """Return the grid of a number of steps, for any sampler.

        A last step without effect is left out; a single such step goes to clean data instead.

        Args:
            steps: network calls, at least 1; on a chain at most its number of steps.

        Raises:
            ValueError: for steps out of range.
        """
        return distinct(self.grid(steps), self.schedule)

    def tableau(self, steps: int) -> Tableau[HostArray]:
        """Return the table of a number of steps, as in diffusers.

        Args:
            steps: as of ``times``.

        Raises:
            ValueError: for steps out of range.
        """
        times = self.grid(steps)
        if times[-1] != times[-2] or isinstance(self.sampler, SinglestepOnGrid):
            return self.sampler.tableau(self.schedule, times)
        return _standing(self.sampler.tableau(self.schedule, np.append(times[:-1], clean_time(self.schedule))))

    def bounded(self, denoiser: Denoiser) -> Denoiser:
        """Bound the clean data of a denoiser by ``threshold`` or ``clip``."""
        if self.threshold is not None:
            range_ = self.threshold
            return DynamicallyThresholded(denoiser, range_.quantile, range_.limit, range_.ceiling)
        return denoiser if self.clip is None else Clipped(denoiser, self.clip)


def clean_time(schedule: Schedule) -> HostArray:
    """The time of clean data."""
    return schedule.inverse_logsnr(np.asarray(np.inf))


def distinct(times: HostArray, schedule: Schedule) -> HostArray:
    """The grid without a last step of no effect; a single such step goes to clean data."""
    if times[-1] != times[-2]:
        return times
    return times[:-1] if len(times) > 2 else np.append(times[:-1], clean_time(schedule))


def _standing(table: Tableau[HostArray]) -> Tableau[HostArray]:
    """The table whose last row keeps the state; a corrector still acts there."""
    evaluate, noise = table.evaluate.copy(), table.noise.copy()
    evaluate[-1], noise[-1] = 0, 0
    evaluate[-1, 1 if np.any(table.base[-1]) else 0] = 1
    level = table.level
    end = NoiseLevel(t=np.asarray(level.t[-1]), alpha=np.asarray(level.alpha[-1]), sigma=np.asarray(level.sigma[-1]))
    stretch = table.stretch if table.uses.stretch else None
    return tabulate(level, end, evaluate, noise, table.base, table.base_noise, table.keep, stretch)
