"""Kernels for diffusion models: each a contract, with a plain reference and several bodies behind it."""

from artifex.kernels.attention import attention as attention
from artifex.kernels.dispatch import Implementation as Implementation
from artifex.kernels.dispatch import UnsupportedKernelError as UnsupportedKernelError
from artifex.kernels.guided_combine import DynamicThreshold as DynamicThreshold
from artifex.kernels.guided_combine import guided_combine as guided_combine
from artifex.kernels.linear_step import Terms as Terms
from artifex.kernels.linear_step import linear_step as linear_step
from artifex.kernels.linear_step import sample_keys as sample_keys

__all__ = [
    "DynamicThreshold",
    "Implementation",
    "Terms",
    "UnsupportedKernelError",
    "attention",
    "guided_combine",
    "linear_step",
    "sample_keys",
]
