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
        schedule: The path from data to noise.
        prediction: The meaning of the network's output.
        sampler: The method.
        grid: From a number of steps to the times at which diffusers calls the network, noise first, and the time at
            which it ends. The last two are equal where its last step goes nowhere, as that of ``PNDMScheduler`` at its
            defaults: the network is called and its output not used. See ``times``.
        clip: Predicted data are held to ``[-clip, clip]``; None for no bounds. ``DDIMScheduler`` goes on with the noise
            of the prediction as it was before; here noise and clean data stay those of one ``x_t``.
        time_scale: The network's time is the schedule's, multiplied by this.
        threshold: Predicted data are held to a range that follows each sample, in place of ``clip``; None for no such.
        learned_variance: Whether the network's output has its variance beside it, in twice the channels.
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
        """The grid of a number of steps, for any sampler.

        A last step that goes nowhere is left out; one step alone that would go nowhere goes to clean data.

        Args:
            steps: Network calls, at least 1; at most as many as the chain has steps, where there is a chain.

        Raises:
            ValueError: For steps out of range.
        """
        return distinct(self.grid(steps), self.schedule)

    def tableau(self, steps: int) -> Tableau[HostArray]:
        """The walk of a number of steps that diffusers would take.

        Args:
            steps: As those of ``times``.

        Raises:
            ValueError: For steps out of range.
        """
        times = self.grid(steps)
        if times[-1] != times[-2] or isinstance(self.sampler, SinglestepOnGrid):
            return self.sampler.tableau(self.schedule, times)
        return _standing(self.sampler.tableau(self.schedule, np.append(times[:-1], clean_time(self.schedule))))

    def bounded(self, denoiser: Denoiser) -> Denoiser:
        """A denoiser whose clean data are held as ``threshold`` or ``clip`` asks."""
        if self.threshold is not None:
            held = self.threshold
            return DynamicallyThresholded(denoiser, held.quantile, held.limit, held.ceiling)
        return denoiser if self.clip is None else Clipped(denoiser, self.clip)


def clean_time(schedule: Schedule) -> HostArray:
    """The time of clean data."""
    return schedule.inverse_logsnr(np.asarray(np.inf))


def distinct(times: HostArray, schedule: Schedule) -> HostArray:
    """The grid without a last step that goes nowhere; alone it goes to clean data."""
    if times[-1] != times[-2]:
        return times
    return times[:-1] if len(times) > 2 else np.append(times[:-1], clean_time(schedule))


def _standing(table: Tableau[HostArray]) -> Tableau[HostArray]:
    """The walk whose last row stays where it is; a corrector still acts there."""
    evaluate, noise = table.evaluate.copy(), table.noise.copy()
    evaluate[-1], noise[-1] = 0, 0
    evaluate[-1, 1 if np.any(table.base[-1]) else 0] = 1
    level = table.level
    end = NoiseLevel(t=np.asarray(level.t[-1]), alpha=np.asarray(level.alpha[-1]), sigma=np.asarray(level.sigma[-1]))
    stretch = table.stretch if table.uses.stretch else None
    return tabulate(level, end, evaluate, noise, table.base, table.base_noise, table.keep, stretch)
