"""Diffusion samplers as tables of coefficients, run by one compiled loop."""

from artifex.samplers.adaptive import bits_per_dim as bits_per_dim
from artifex.samplers.adaptive import log_likelihood as log_likelihood
from artifex.samplers.adaptive import probability_flow as probability_flow
from artifex.samplers.by_name import SAMPLERS as SAMPLERS
from artifex.samplers.by_name import SamplerName as SamplerName
from artifex.samplers.consistency import MultistepConsistency as MultistepConsistency
from artifex.samplers.ddim import DDIM as DDIM
from artifex.samplers.ddpm import DDPM as DDPM
from artifex.samplers.deis import DEIS as DEIS
from artifex.samplers.dpm2 import DPM2 as DPM2
from artifex.samplers.dpm_solver import DPMSolverMultistep as DPMSolverMultistep
from artifex.samplers.dpm_solver import DPMSolverSinglestep as DPMSolverSinglestep
from artifex.samplers.dpm_solver_pp import DPMSolverPPMultistep as DPMSolverPPMultistep
from artifex.samplers.dpm_solver_pp import DPMSolverPPSDE as DPMSolverPPSDE
from artifex.samplers.dpm_solver_pp import DPMSolverPPSinglestep as DPMSolverPPSinglestep
from artifex.samplers.edm import EDMStochastic as EDMStochastic
from artifex.samplers.er_sde import ERSDE as ERSDE
from artifex.samplers.euler import Euler as Euler
from artifex.samplers.euler_ancestral import EulerAncestral as EulerAncestral
from artifex.samplers.generate import generate as generate
from artifex.samplers.generate import prior as prior
from artifex.samplers.heun import Heun as Heun
from artifex.samplers.inpainting import Inpainted as Inpainted
from artifex.samplers.inpainting import repaint as repaint
from artifex.samplers.inpainting import start_from as start_from
from artifex.samplers.inpainting import truncate as truncate
from artifex.samplers.inversion import DDIMInversion as DDIMInversion
from artifex.samplers.lms import LMS as LMS
from artifex.samplers.pndm import PNDM as PNDM
from artifex.samplers.predictor_corrector import predictor_corrector as predictor_corrector
from artifex.samplers.predictor_corrector import with_corrector as with_corrector
from artifex.samplers.sample import sample as sample
from artifex.samplers.sample import sample_trajectory as sample_trajectory
from artifex.samplers.sample import sample_with_callback as sample_with_callback
from artifex.samplers.tableau import Sampler as Sampler
from artifex.samplers.tableau import Tableau as Tableau
from artifex.samplers.unipc import UniPC as UniPC

__all__ = [
    "DDIM",
    "DDPM",
    "DEIS",
    "DPM2",
    "ERSDE",
    "LMS",
    "PNDM",
    "SAMPLERS",
    "DDIMInversion",
    "DPMSolverMultistep",
    "DPMSolverPPMultistep",
    "DPMSolverPPSDE",
    "DPMSolverPPSinglestep",
    "DPMSolverSinglestep",
    "EDMStochastic",
    "Euler",
    "EulerAncestral",
    "Heun",
    "Inpainted",
    "MultistepConsistency",
    "Sampler",
    "SamplerName",
    "Tableau",
    "UniPC",
    "bits_per_dim",
    "generate",
    "log_likelihood",
    "predictor_corrector",
    "prior",
    "probability_flow",
    "repaint",
    "sample",
    "sample_trajectory",
    "sample_with_callback",
    "start_from",
    "truncate",
    "with_corrector",
]
