"""Samplers by name."""

from collections.abc import Mapping
from typing import Final, Literal

from artifex.samplers.ddim import DDIM
from artifex.samplers.ddpm import DDPM
from artifex.samplers.deis import DEIS
from artifex.samplers.dpm2 import DPM2
from artifex.samplers.dpm_solver_pp import DPMSolverPPMultistep, DPMSolverPPSDE, DPMSolverPPSinglestep
from artifex.samplers.edm import EDMStochastic
from artifex.samplers.er_sde import ERSDE
from artifex.samplers.euler import Euler
from artifex.samplers.euler_ancestral import EulerAncestral
from artifex.samplers.heun import Heun
from artifex.samplers.lms import LMS
from artifex.samplers.pndm import PNDM
from artifex.samplers.tableau import Sampler
from artifex.samplers.unipc import UniPC

SamplerName = Literal[
    "ddim", "ddpm", "deis", "dpm2", "dpmpp_2m", "dpmpp_2s", "dpmpp_3m", "dpmpp_sde", "edm", "er_sde", "euler",
    "euler_ancestral", "heun", "lms", "pndm", "unipc",
]  # fmt: skip
"""The names of ``SAMPLERS``."""
SAMPLERS: Final[Mapping[SamplerName, Sampler]] = {
    "ddim": DDIM(),
    "ddpm": DDPM(),
    "deis": DEIS(),
    "dpm2": DPM2(),
    "dpmpp_2m": DPMSolverPPMultistep(2),
    "dpmpp_2s": DPMSolverPPSinglestep(2),
    "dpmpp_3m": DPMSolverPPMultistep(3),
    "dpmpp_sde": DPMSolverPPSDE(),
    "edm": EDMStochastic(),
    "er_sde": ERSDE(),
    "euler": Euler(),
    "euler_ancestral": EulerAncestral(),
    "heun": Heun(),
    "lms": LMS(),
    "pndm": PNDM(),
    "unipc": UniPC(),
}
"""A method of each family, with its own defaults."""
