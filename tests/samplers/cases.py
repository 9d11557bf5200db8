"""Every solver and a walk on every schedule: a newcomer adds one line."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from artifex.samplers import (
    Consistency,
    Ddim,
    Ddpm,
    Deis,
    Dpm2,
    DpmPlusMulti,
    DpmPlusSde,
    DpmPlusSingle,
    DpmSolverMulti,
    DpmSolverSingle,
    Edm,
    ErSde,
    Euler,
    EulerAncestral,
    Heun,
    Lms,
    Pndm,
    Sampler,
    UniPc,
)
from artifex.schedules import EDM, VE, VP, CosineVP, Discrete, Host, RectifiedFlow, Schedule, SubVP, betas, grid

DETERMINISTIC: Final[Mapping[str, Sampler]] = {
    "ddim": Ddim(),
    "euler": Euler(),
    "heun": Heun(),
    "heun ratio": Heun(frame="ratio"),
    "dpm2": Dpm2(),
    "dpm-solver-1": DpmSolverSingle(1),
    "dpm-solver-2": DpmSolverSingle(2),
    "dpm-solver-3": DpmSolverSingle(3),
    "dpm-solver 1m": DpmSolverMulti(1),
    "dpm-solver 2m": DpmSolverMulti(2),
    "dpm-solver 2m heun": DpmSolverMulti(2, slope="heun"),
    "dpm-solver 3m": DpmSolverMulti(3),
    "dpm-solver 3m compat": DpmSolverMulti(3, compat=True),
    "dpm++ 1s": DpmPlusSingle(1),
    "dpm++ 2s": DpmPlusSingle(2),
    "dpm++ 3s": DpmPlusSingle(3),
    "dpm++ 1m": DpmPlusMulti(1),
    "dpm++ 2m": DpmPlusMulti(2),
    "dpm++ 2m heun": DpmPlusMulti(2, slope="heun"),
    "dpm++ 3m": DpmPlusMulti(3),
    "dpm++ 3m compat": DpmPlusMulti(3, compat=True),
    "unipc-1": UniPc(1),
    "unipc-2 bh1": UniPc(2, "bh1"),
    "unipc-2 bh2": UniPc(2, "bh2"),
    "unipc-3": UniPc(3),
    "unipc-3 noise": UniPc(3, extrapolates="noise"),
    "unip-3": UniPc(3, corrector=False),
    "unip-3 noise": UniPc(3, extrapolates="noise", corrector=False),
    "deis-1": Deis(1),
    "deis-2": Deis(2),
    "deis-3": Deis(3),
    "deis-3 logsnr": Deis(3, "logsnr"),
    "plms": Pndm(),
    "plms euler": Pndm(warmup="euler"),
    "plms runge-kutta": Pndm(warmup="runge-kutta"),
    "lms-1": Lms(1),
    "lms-2": Lms(2),
    "lms-3": Lms(3),
    "lms-4": Lms(4),
    "edm, no churn": Edm(churn=0),
}

STOCHASTIC: Final[Mapping[str, Sampler]] = {
    "ddpm small": Ddpm(),
    "ddim eta 0.5": Ddim(0.5),
    "ddim eta 1": Ddim(1.0),
    "euler a": EulerAncestral(),
    "euler a 1.5": EulerAncestral(1.5),
    "dpm2 a": Dpm2(eta=1.0),
    "dpm++ 1s a": DpmPlusSingle(1, eta=1.0),
    "dpm++ 2s a": DpmPlusSingle(2, eta=1.0),
    "dpm++ 3s a": DpmPlusSingle(3, eta=0.5),
    "dpm++ sde": DpmPlusSde(),
    "dpm++ sde 0.5": DpmPlusSde(0.5, place=0.3),
    "dpm++ 1m sde": DpmPlusMulti(1, eta=1.0),
    "dpm++ 2m sde": DpmPlusMulti(2, eta=1.0),
    "dpm++ 2m sde 0.4": DpmPlusMulti(2, eta=0.4),
    "dpm++ 2m sde heun": DpmPlusMulti(2, eta=1.0, slope="heun"),
    "dpm++ 3m sde": DpmPlusMulti(3, eta=1.0, slope="heun"),
    "dpm++ 3m sde compat": DpmPlusMulti(3, eta=1.0, slope="heun", compat=True),
    "edm": Edm(inflation=1.0),
    "edm euler": Edm(inflation=1.0, step="euler"),
    "edm dpm2": Edm(inflation=1.0, step="dpm2"),
    "er-sde-1": ErSde(1),
    "er-sde-2": ErSde(2),
    "er-sde-3": ErSde(3),
}

IMPROPER: Final[Mapping[str, Sampler]] = {
    "ddpm large": Ddpm("large"),  # the chain's variance, not the posterior's: right only as steps shrink
    "dpm-solver 2m sde": DpmSolverMulti(2, eta=1.0),  # its noise is the path's only as steps shrink
    "edm inflated": Edm(),  # adds a little more noise than it should, as published
    "consistency": Consistency(),  # for a model that gives a sample of x0 and no mean
}

SOLVERS: Final[Mapping[str, Sampler]] = {**DETERMINISTIC, **STOCHASTIC, **IMPROPER}

CHAIN: Final = betas.scaled_linear(1000)


def walks(steps: int) -> Mapping[str, tuple[Schedule, Host]]:
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


def falling(start: float, end: float, steps: int) -> Host:
    """Noise levels that fall by one factor a step."""
    out: Host = np.exp(np.linspace(np.log(start), np.log(end), steps + 1))
    out[0], out[-1] = start, end
    return out
