r"""EDM's stochastic sampler: Heun's steps with added noise before each."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

import numpy as np

from artifex.samplers.singlestep import Stage, singlestep
from artifex.samplers.steps import StepSequence, choose, steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import NoiseLevel, Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class EDMStochastic:
    r"""Raise the noise from $\rho$ to $\hat\rho = (1 + \gamma) \rho$, then take a step of Heun's from there.

    $$\gamma = \min(S_\mathrm{churn} / N, \sqrt 2 - 1)\ \text{for}\ S_\mathrm{tmin} \le \rho \le S_\mathrm{tmax},\quad
      \hat x / \hat\alpha = x / \alpha + \sqrt{\hat\rho^2 - \rho^2}\, S_\mathrm{noise} z,\qquad \rho = \sigma / \alpha$$

    The run starts at the raised level, because pure noise with noise added is pure noise. $\hat\rho$ is limited to the
    range of the schedule.

    Attributes:
        s_churn: $S_\mathrm{churn}$, at least 0; 0 is ``Heun``.
        s_tmin: $S_\mathrm{tmin}$.
        s_tmax: $S_\mathrm{tmax}$.
        s_noise: $S_\mathrm{noise}$, positive.
        step: ``"heun"`` as published; ``"euler"`` and ``"dpm2"`` take the steps of ``Euler`` and ``DPM2``.

    Raises:
        ValueError: if a setting lies outside of its range.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364
    """

    s_churn: float = 40.0
    s_tmin: float = 0.05
    s_tmax: float = 50.0
    s_noise: float = 1.003
    step: Literal["heun", "euler", "dpm2"] = "heun"

    def __post_init__(self) -> None:
        if not 0 <= self.s_churn < inf:
            raise ValueError(f"s_churn must be finite and at least 0, got {self.s_churn}")
        if not 0 <= self.s_tmin <= self.s_tmax:
            raise ValueError(f"s_tmin and s_tmax must rise from 0, got {self.s_tmin} and {self.s_tmax}")
        if not 0 < self.s_noise < inf:
            raise ValueError(f"s_noise must be finite and positive, got {self.s_noise}")
        if self.step not in ("heun", "euler", "dpm2"):
            raise ValueError(f"step must be 'heun', 'euler' or 'dpm2', got {self.step!r}")

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """The rows of its steps; the last row of each adds the noise of the next step."""
        steps = steps_along(schedule, times)
        start = self._raised(schedule, steps)
        raised = StepSequence(a=start, b=steps.b, end=steps.end)
        scale, noise = np.ones(len(steps)), np.zeros(len(steps))
        scale[:-1] = start.alpha[1:] / steps.a.alpha[1:]
        added = np.maximum(start.sigma[1:] ** 2 - (scale[:-1] * steps.a.sigma[1:]) ** 2, 0.0)
        noise[:-1] = self.s_noise * np.sqrt(np.where(start.t[1:] == steps.a.t[1:], 0.0, added))
        stages = self._stages(schedule, raised)
        return singlestep(raised, stages, single=steps.b.sigma == 0, scale=scale, noise=noise)

    def _stages(self, schedule: Schedule, steps: StepSequence) -> list[Stage]:
        """The stages after the first call of a step."""
        if self.step == "euler":
            return []
        if self.step == "dpm2":
            return [Stage(steps.between(schedule, 0.5), noise=steps.drift)]
        return [Stage(steps.b, (steps.b.alpha - steps.a.alpha) / 2, (steps.b.sigma - steps.a.sigma) / 2)]

    def _raised(self, schedule: Schedule, steps: StepSequence) -> NoiseLevel[HostArray]:
        """The raised levels that the steps start from."""
        inside = (steps.a.alpha > 0) & (steps.rho >= self.s_tmin) & (steps.rho <= self.s_tmax)
        if self.s_churn == 0 or not inside.any():
            return steps.a
        gamma = np.where(inside, min(self.s_churn / len(steps), sqrt(2) - 1), 0.0)
        return choose(inside, schedule.at(schedule.inverse_logsnr(-2 * np.log(steps.rho * (1 + gamma)))), steps.a)
