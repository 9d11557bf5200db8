"""Building blocks for authors of solvers: steps, rows of a table and their weights.

A solver is a pure function from a schedule and times to a ``Tableau``; see ``Sampler``. ``steps_along`` gives the
steps, ``multistep`` and ``singlestep`` make tables of the two common forms, ``tabulate`` any other.
"""

from artifex.samplers.ddim import ddim_weights as ddim_weights
from artifex.samplers.multistep import difference_weights as difference_weights
from artifex.samplers.multistep import moments as moments
from artifex.samplers.multistep import multistep as multistep
from artifex.samplers.multistep import multistep_eps as multistep_eps
from artifex.samplers.multistep import phi as phi
from artifex.samplers.singlestep import Stage as Stage
from artifex.samplers.singlestep import singlestep as singlestep
from artifex.samplers.steps import StepSequence as StepSequence
from artifex.samplers.steps import steps_along as steps_along
from artifex.samplers.tableau import ActiveColumns as ActiveColumns
from artifex.samplers.tableau import levels as levels
from artifex.samplers.tableau import tabulate as tabulate

__all__ = [
    "ActiveColumns",
    "Stage",
    "StepSequence",
    "ddim_weights",
    "difference_weights",
    "levels",
    "moments",
    "multistep",
    "multistep_eps",
    "phi",
    "singlestep",
    "steps_along",
    "tabulate",
]
