r"""Beta tables: $\beta_i$ is the variance that step $i$ of the discrete chain adds, $i = 0 \dots n-1$.

Each function gives a float64 NumPy array of shape ``(n,)`` with values in [0, 1].
"""

from artifex.schedules.betas.alpha_bar import cosine as cosine
from artifex.schedules.betas.alpha_bar import from_alpha_bar as from_alpha_bar
from artifex.schedules.betas.alpha_bar import laplace as laplace
from artifex.schedules.betas.alpha_bar import sigmoid_alpha_bar as sigmoid_alpha_bar
from artifex.schedules.betas.explicit import exponential as exponential
from artifex.schedules.betas.explicit import geometric as geometric
from artifex.schedules.betas.explicit import linear as linear
from artifex.schedules.betas.explicit import scaled_linear as scaled_linear
from artifex.schedules.betas.explicit import sigmoid as sigmoid
from artifex.schedules.betas.tables import EXPLICIT as EXPLICIT
from artifex.schedules.betas.tables import TABLES as TABLES
from artifex.schedules.betas.tables import BetaSchedule as BetaSchedule
from artifex.schedules.betas.transforms import from_alphas_cumprod as from_alphas_cumprod
from artifex.schedules.betas.transforms import rescale_zero_terminal_snr as rescale_zero_terminal_snr
from artifex.schedules.betas.transforms import shifted as shifted

__all__ = [
    "EXPLICIT",
    "TABLES",
    "BetaSchedule",
    "cosine",
    "exponential",
    "from_alpha_bar",
    "from_alphas_cumprod",
    "geometric",
    "laplace",
    "linear",
    "rescale_zero_terminal_snr",
    "scaled_linear",
    "shifted",
    "sigmoid",
    "sigmoid_alpha_bar",
]
