"""Kernels for diffusion models, each with a plain reference and several implementations."""

from artifex.kernels.adaln import adaln as adaln
from artifex.kernels.attention import attention as attention
from artifex.kernels.convolution import conv as conv
from artifex.kernels.convolution import upsample_conv as upsample_conv
from artifex.kernels.dispatch import ImplementationName as ImplementationName
from artifex.kernels.dispatch import UnsupportedKernelError as UnsupportedKernelError
from artifex.kernels.group_norm_silu import group_norm_silu as group_norm_silu
from artifex.kernels.guided_combine import DynamicThreshold as DynamicThreshold
from artifex.kernels.guided_combine import guided_combine as guided_combine
from artifex.kernels.linear_step import Noise as Noise
from artifex.kernels.linear_step import Terms as Terms
from artifex.kernels.linear_step import linear_step as linear_step
from artifex.kernels.linear_step import sample_keys as sample_keys
from artifex.kernels.qk_norm_rope import qk_norm_rope as qk_norm_rope

__all__ = [
    "DynamicThreshold",
    "ImplementationName",
    "Noise",
    "Terms",
    "UnsupportedKernelError",
    "adaln",
    "attention",
    "conv",
    "group_norm_silu",
    "guided_combine",
    "linear_step",
    "qk_norm_rope",
    "sample_keys",
    "upsample_conv",
]
