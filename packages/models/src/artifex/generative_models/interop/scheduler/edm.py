r"""Schedulers whose time is a noise level: EDM's, and Euler's with ``timestep_type: continuous``."""

from dataclasses import dataclass

import numpy as np

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.config_fields import Fields
from artifex.generative_models.interop.scheduler.chain import read_threshold
from artifex.generative_models.interop.scheduler.methods import edm_multi
from artifex.generative_models.interop.scheduler.spacing import spread_levels
from artifex.generative_models.interop.scheduler.value import Scheduler
from artifex.samplers import Euler
from artifex.schedules import EDM, EDMPreconditioned, NoiseLevel, Prediction, Schedule, V, grid
from artifex.schedules.arrays import HostArray, T, array_namespace


@dataclass(frozen=True)
class LogSigma:
    r"""The variance-preserving path over EDM's $t = \tfrac14 \log(\sigma / \alpha)$.

    $$\alpha = 1 / \sqrt{1 + e^{8t}},\qquad \sigma = 1 / \sqrt{1 + e^{-8t}}$$

    Clean data are at $t = -\infty$. A network with ``V`` on this path is EDM's with ``sigma_data = 1`` and the
    opposite sign; Stable Video Diffusion is one.
    """

    def at(self, t: T) -> NoiseLevel[T]:
        """The level at time ``t``, any number."""
        xp = array_namespace(t)
        logs = xp.asarray(8 * xp.asarray(t))
        alpha, sigma = xp.exp(-0.5 * xp.logaddexp(0.0, logs)), xp.exp(-0.5 * xp.logaddexp(0.0, -logs))
        return NoiseLevel(t=xp.asarray(t), alpha=xp.asarray(alpha), sigma=xp.asarray(sigma))

    def inverse_logsnr(self, logsnr: T) -> T:
        r"""$-\lambda / 8$."""
        return array_namespace(logsnr).asarray(-logsnr / 8)

    def times(self, steps: int) -> HostArray:
        r"""Karras's levels from $\sigma / \alpha$ of 700 to 0.002, those of Stable Video Diffusion, then clean data."""
        return grid.karras(self, steps, np.log(700) / 4, np.log(0.002) / 4)


def read_edm(kind: str, fields: Fields) -> Scheduler:
    """``EDMEulerScheduler`` and ``EDMDPMSolverMultistepScheduler``."""
    low, high = fields.number("sigma_min", 0.002), fields.number("sigma_max", 80.0)
    rho, data = fields.number("rho", 7.0), fields.number("sigma_data", 0.5)
    way = fields.choice("sigma_schedule", ("karras", "exponential"), "karras")
    clean = fields.choice("final_sigmas_type", ("zero", "sigma_min"), "zero") == "zero"
    name = fields.choice("prediction_type", ("epsilon", "v_prediction"), "epsilon")
    schedule: Schedule = EDM()
    prediction: Prediction = EDMPreconditioned(data)
    if name == "v_prediction":
        if data != 1:
            raise CheckpointError(f"sigma_data must be 1 with prediction_type 'v_prediction', got {data}")
        schedule, prediction = LogSigma(), V()
    euler = kind == "EDMEulerScheduler"

    def walk(steps: int) -> HostArray:
        spread = spread_levels("karras" if way == "karras" else "exponential", high, low, steps, rho)
        end = 0.0 if clean else float(spread[-1]) if euler else low
        levels = np.append(spread, end)
        with np.errstate(divide="ignore"):
            return levels if name == "epsilon" else np.log(levels) / 4

    sampler = Euler() if euler else edm_multi(fields)
    return Scheduler(schedule, prediction, sampler, walk, threshold=read_threshold(fields))
