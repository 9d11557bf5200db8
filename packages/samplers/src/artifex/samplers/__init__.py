"""Diffusion samplers as tables of coefficients, walked by one compiled loop."""

from artifex.samplers.adaptive import bits_per_dim as bits_per_dim
from artifex.samplers.adaptive import log_likelihood as log_likelihood
from artifex.samplers.adaptive import probability_flow as probability_flow
from artifex.samplers.ancestral import Ddpm as Ddpm
from artifex.samplers.consistency import Consistency as Consistency
from artifex.samplers.ddim import Ddim as Ddim
from artifex.samplers.ddim import ddim_weights as ddim_weights
from artifex.samplers.dpm_plus import DpmPlusMulti as DpmPlusMulti
from artifex.samplers.dpm_plus import DpmPlusSde as DpmPlusSde
from artifex.samplers.dpm_plus import DpmPlusSingle as DpmPlusSingle
from artifex.samplers.dpm_solver import DpmSolverMulti as DpmSolverMulti
from artifex.samplers.dpm_solver import DpmSolverSingle as DpmSolverSingle
from artifex.samplers.edit import Inpainted as Inpainted
from artifex.samplers.edit import noised as noised
from artifex.samplers.edit import resample as resample
from artifex.samplers.edit import tail as tail
from artifex.samplers.edm import Edm as Edm
from artifex.samplers.er_sde import ErSde as ErSde
from artifex.samplers.euler import Euler as Euler
from artifex.samplers.euler import EulerAncestral as EulerAncestral
from artifex.samplers.heun import Dpm2 as Dpm2
from artifex.samplers.heun import Heun as Heun
from artifex.samplers.inversion import DdimInversion as DdimInversion
from artifex.samplers.lms import Deis as Deis
from artifex.samplers.lms import Lms as Lms
from artifex.samplers.path import Path as Path
from artifex.samplers.path import path_of as path_of
from artifex.samplers.pndm import Pndm as Pndm
from artifex.samplers.predictor_corrector import corrected as corrected
from artifex.samplers.predictor_corrector import predictor_corrector as predictor_corrector
from artifex.samplers.rows import lean as lean
from artifex.samplers.rows import moments as moments
from artifex.samplers.rows import multistep as multistep
from artifex.samplers.rows import multistep_noise as multistep_noise
from artifex.samplers.rows import phi as phi
from artifex.samplers.sample import prior as prior
from artifex.samplers.sample import sample as sample
from artifex.samplers.sample import sample_trajectory as sample_trajectory
from artifex.samplers.sample import sample_watched as sample_watched
from artifex.samplers.stages import Stage as Stage
from artifex.samplers.stages import singlestep as singlestep
from artifex.samplers.tableau import Sampler as Sampler
from artifex.samplers.tableau import Tableau as Tableau
from artifex.samplers.tableau import Uses as Uses
from artifex.samplers.tableau import levels as levels
from artifex.samplers.tableau import tabulate as tabulate
from artifex.samplers.unipc import UniPc as UniPc

__all__ = [
    "Consistency",
    "Ddim",
    "DdimInversion",
    "Ddpm",
    "Deis",
    "Dpm2",
    "DpmPlusMulti",
    "DpmPlusSde",
    "DpmPlusSingle",
    "DpmSolverMulti",
    "DpmSolverSingle",
    "Edm",
    "ErSde",
    "Euler",
    "EulerAncestral",
    "Heun",
    "Inpainted",
    "Lms",
    "Path",
    "Pndm",
    "Sampler",
    "Stage",
    "Tableau",
    "UniPc",
    "Uses",
    "bits_per_dim",
    "corrected",
    "ddim_weights",
    "lean",
    "levels",
    "log_likelihood",
    "moments",
    "multistep",
    "multistep_noise",
    "noised",
    "path_of",
    "phi",
    "predictor_corrector",
    "prior",
    "probability_flow",
    "resample",
    "sample",
    "sample_trajectory",
    "sample_watched",
    "singlestep",
    "tabulate",
    "tail",
]
