"""A weighted sum of arrays plus noise."""

from artifex.kernels.linear_step.api import Terms as Terms
from artifex.kernels.linear_step.api import linear_step as linear_step
from artifex.kernels.linear_step.noise import Noise as Noise
from artifex.kernels.linear_step.noise import sample_keys as sample_keys

__all__ = ["Noise", "Terms", "linear_step", "sample_keys"]
