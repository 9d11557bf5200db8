"""Diffusion samplers as tables of coefficients, walked by one compiled loop."""

from artifex.samplers.ancestral import Ddpm as Ddpm
from artifex.samplers.ddim import Ddim as Ddim
from artifex.samplers.sample import prior as prior
from artifex.samplers.sample import sample as sample
from artifex.samplers.sample import sample_trajectory as sample_trajectory
from artifex.samplers.tableau import Sampler as Sampler
from artifex.samplers.tableau import Tableau as Tableau
from artifex.samplers.tableau import Uses as Uses
from artifex.samplers.tableau import levels as levels
from artifex.samplers.tableau import tabulate as tabulate

__all__ = ["Ddim", "Ddpm", "Sampler", "Tableau", "Uses", "levels", "prior", "sample", "sample_trajectory", "tabulate"]
