r"""Beta tables: $\beta_i$ is the variance that step $i$ of the discrete chain adds, $i = 0 \dots n-1$.

Each function gives a float64 NumPy array of shape ``(n,)`` with values in [0, 1].
"""

from artifex.schedules.betas.rescaled import from_alphas_cumprod as from_alphas_cumprod
from artifex.schedules.betas.rescaled import rescale_zero_terminal_snr as rescale_zero_terminal_snr
from artifex.schedules.betas.rescaled import shifted as shifted
from artifex.schedules.betas.signal import cosine as cosine
from artifex.schedules.betas.signal import from_signal as from_signal
from artifex.schedules.betas.signal import laplace as laplace
from artifex.schedules.betas.signal import sigmoid_signal as sigmoid_signal
from artifex.schedules.betas.stated import exponential as exponential
from artifex.schedules.betas.stated import geometric as geometric
from artifex.schedules.betas.stated import linear as linear
from artifex.schedules.betas.stated import scaled_linear as scaled_linear
from artifex.schedules.betas.stated import sigmoid as sigmoid

__all__ = [
    "cosine",
    "exponential",
    "from_alphas_cumprod",
    "from_signal",
    "geometric",
    "laplace",
    "linear",
    "rescale_zero_terminal_snr",
    "scaled_linear",
    "shifted",
    "sigmoid",
    "sigmoid_signal",
]
