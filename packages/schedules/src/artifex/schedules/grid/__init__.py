"""Time grids: the times at which a sampler calls the network, and its end.

A grid of ``k`` steps is a float64 NumPy array of ``k + 1`` times, noise first. The network is not called at the last
time, which on the discrete chain is -1, clean data.
"""

from artifex.schedules.grid.align_your_steps import align_your_steps as align_your_steps
from artifex.schedules.grid.chain import all_steps as all_steps
from artifex.schedules.grid.chain import leading as leading
from artifex.schedules.grid.chain import linspace as linspace
from artifex.schedules.grid.chain import quadratic as quadratic
from artifex.schedules.grid.chain import trailing as trailing
from artifex.schedules.grid.noise import exponential as exponential
from artifex.schedules.grid.noise import from_sigmas as from_sigmas
from artifex.schedules.grid.noise import karras as karras
from artifex.schedules.grid.noise import logsnr_uniform as logsnr_uniform
from artifex.schedules.grid.time import beta as beta
from artifex.schedules.grid.time import custom as custom
from artifex.schedules.grid.time import shifted as shifted
from artifex.schedules.grid.time import uniform as uniform

__all__ = [
    "align_your_steps",
    "all_steps",
    "beta",
    "custom",
    "exponential",
    "from_sigmas",
    "karras",
    "leading",
    "linspace",
    "logsnr_uniform",
    "quadratic",
    "shifted",
    "trailing",
    "uniform",
]
