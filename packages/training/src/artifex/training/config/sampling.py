"""Samplers by name, and the settings of samples and previews."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import PositiveInt

from artifex.samplers import (
    DDIM,
    DDPM,
    DEIS,
    DPM2,
    ERSDE,
    LMS,
    PNDM,
    DPMSolverPPMultistep,
    DPMSolverPPSDE,
    DPMSolverPPSinglestep,
    EDMStochastic,
    Euler,
    EulerAncestral,
    Heun,
    Sampler,
    UniPC,
)
from artifex.training.section import Section

SamplerName = Literal[
    "ddim", "ddpm", "deis", "dpm2", "dpmpp_2m", "dpmpp_2s", "dpmpp_3m", "dpmpp_sde", "edm", "er_sde", "euler",
    "euler_ancestral", "heun", "lms", "pndm", "unipc",
]  # fmt: skip
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


class SamplingConfig(Section):
    """The settings of sampling.

    Attributes:
        sampler: the method.
        steps: number of steps; a method of second order may call the network twice in one.
        guidance: scale of classifier-free guidance; 1 is no guidance. It has no effect without labels.
    """

    sampler: SamplerName = "ddim"
    steps: PositiveInt = 50
    guidance: float = 1.0

    def build(self) -> Sampler:
        """Return the sampler."""
        return SAMPLERS[self.sampler]


class PreviewConfig(SamplingConfig):
    """Pictures of samples during training.

    Attributes:
        every: steps between them.
        count: number of samples in each, from the same noise every time.
    """

    every: PositiveInt = 500
    count: PositiveInt = 40
