"""Every solver and a walk on every schedule: a newcomer adds one line."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from artifex.samplers import (
    DDIM,
    DDPM,
    DEIS,
    DPM2,
    ERSDE,
    LMS,
    PNDM,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSDE,
    DPMSolverPPSinglestep,
    DPMSolverSinglestep,
    EDMStochastic,
    Euler,
    EulerAncestral,
    Heun,
    MultistepConsistency,
    Sampler,
    UniPC,
)
from artifex.schedules import EDM, VE, VP, CosineVP, Discrete, RectifiedFlow, Schedule, SubVP, betas, grid
from artifex.schedules.arrays import HostArray

DETERMINISTIC: Final[Mapping[str, Sampler]] = {
    "ddim": DDIM(),
    "euler": Euler(),
    "heun": Heun(),
    "heun ratio": Heun(parametrization="ratio"),
    "dpm2": DPM2(),
    "dpm-solver-1": DPMSolverSinglestep(1),
    "dpm-solver-2": DPMSolverSinglestep(2),
    "dpm-solver-3": DPMSolverSinglestep(3),
    "dpm-solver 1m": DPMSolverMultistep(1),
    "dpm-solver 2m": DPMSolverMultistep(2),
    "dpm-solver 2m heun": DPMSolverMultistep(2, solver_type="heun"),
    "dpm-solver 3m": DPMSolverMultistep(3),
    "dpm-solver 3m diffusers_compat": DPMSolverMultistep(3, diffusers_compat=True),
    "dpm++ 1s": DPMSolverPPSinglestep(1),
    "dpm++ 2s": DPMSolverPPSinglestep(2),
    "dpm++ 3s": DPMSolverPPSinglestep(3),
    "dpm++ 1m": DPMSolverPPMultistep(1),
    "dpm++ 2m": DPMSolverPPMultistep(2),
    "dpm++ 2m heun": DPMSolverPPMultistep(2, solver_type="heun"),
    "dpm++ 3m": DPMSolverPPMultistep(3),
    "dpm++ 3m diffusers_compat": DPMSolverPPMultistep(3, diffusers_compat=True),
    "unipc-1": UniPC(1),
    "unipc-2 bh1": UniPC(2, "bh1"),
    "unipc-2 bh2": UniPC(2, "bh2"),
    "unipc-3": UniPC(3),
    "unipc-3 noise": UniPC(3, predict_x0=False),
    "unip-3": UniPC(3, corrector=False),
    "unip-3 noise": UniPC(3, predict_x0=False, corrector=False),
    "deis-1": DEIS(1),
    "deis-2": DEIS(2),
    "deis-3": DEIS(3),
    "deis-3 logsnr": DEIS(3, "logrho"),
    "plms": PNDM(),
    "plms euler": PNDM(warmup="euler"),
    "plms runge-kutta": PNDM(warmup="runge-kutta"),
    "lms-1": LMS(1),
    "lms-2": LMS(2),
    "lms-3": LMS(3),
    "lms-4": LMS(4),
    "edm, no churn": EDMStochastic(s_churn=0),
}

STOCHASTIC: Final[Mapping[str, Sampler]] = {
    "ddpm small": DDPM(),
    "ddim eta 0.5": DDIM(0.5),
    "ddim eta 1": DDIM(1.0),
    "euler a": EulerAncestral(),
    "euler a 1.5": EulerAncestral(1.5),
    "dpm2 a": DPM2(eta=1.0),
    "dpm++ 1s a": DPMSolverPPSinglestep(1, eta=1.0),
    "dpm++ 2s a": DPMSolverPPSinglestep(2, eta=1.0),
    "dpm++ 3s a": DPMSolverPPSinglestep(3, eta=0.5),
    "dpm++ sde": DPMSolverPPSDE(),
    "dpm++ sde 0.5": DPMSolverPPSDE(0.5, r=0.3),
    "dpm++ 1m sde": DPMSolverPPMultistep(1, eta=1.0),
    "dpm++ 2m sde": DPMSolverPPMultistep(2, eta=1.0),
    "dpm++ 2m sde 0.4": DPMSolverPPMultistep(2, eta=0.4),
    "dpm++ 2m sde heun": DPMSolverPPMultistep(2, eta=1.0, solver_type="heun"),
    "dpm++ 3m sde": DPMSolverPPMultistep(3, eta=1.0, solver_type="heun"),
    "dpm++ 3m sde diffusers_compat": DPMSolverPPMultistep(3, eta=1.0, solver_type="heun", diffusers_compat=True),
    "edm": EDMStochastic(s_noise=1.0),
    "edm euler": EDMStochastic(s_noise=1.0, step="euler"),
    "edm dpm2": EDMStochastic(s_noise=1.0, step="dpm2"),
    "er-sde-1": ERSDE(1),
    "er-sde-2": ERSDE(2),
    "er-sde-3": ERSDE(3),
}

IMPROPER: Final[Mapping[str, Sampler]] = {
    "ddpm large": DDPM("fixed_large"),  # the chain's variance, not the posterior's: right only as steps shrink
    "dpm-solver 2m sde": DPMSolverMultistep(2, eta=1.0),  # its noise is the path's only as steps shrink
    "edm inflated": EDMStochastic(),  # adds a little more noise than it should, as published
    "consistency": MultistepConsistency(),  # for a model that gives a sample of x0 and no mean
}

SOLVERS: Final[Mapping[str, Sampler]] = {**DETERMINISTIC, **STOCHASTIC, **IMPROPER}

CHAIN: Final = betas.scaled_linear(1000)


def walks(steps: int) -> Mapping[str, tuple[Schedule, HostArray]]:
    """Schedules of every kind with a grid of ``steps`` steps, clean ends and starts without signal among them."""
    return {
        "edm to clean": (EDM(), grid.karras(EDM(), steps, 80.0, 0.002)),
        "edm to noise": (EDM(), grid.karras(EDM(), steps, 80.0, 0.002, clean=False)),
        "ve": (VE(), grid.uniform(steps)),
        "vp": (VP(), grid.uniform(steps, 1.0, 1e-3)),
        "vp to clean": (VP(), grid.uniform(steps)),
        "sub-vp": (SubVP(), grid.uniform(steps)),
        "cosine": (CosineVP(), grid.uniform(steps)),
        "chain": (Discrete(CHAIN), grid.trailing(1000, steps)),
        "chain without signal": (Discrete(betas.rescale_zero_terminal_snr(CHAIN)), grid.trailing(1000, steps)),
        "flow": (RectifiedFlow(), grid.uniform(steps)),
    }


def falling(start: float, end: float, steps: int) -> HostArray:
    """Noise levels that fall by one factor a step."""
    out: HostArray = np.exp(np.linspace(np.log(start), np.log(end), steps + 1))
    out[0], out[-1] = start, end
    return out
