"""Square convolution, and convolution of an image upsampled to twice its size."""

from artifex.kernels.convolution.api import conv as conv
from artifex.kernels.convolution.api import upsample_conv as upsample_conv
from artifex.kernels.convolution.resize import resize_nearest as resize_nearest
from artifex.kernels.convolution.resize import upsample_nearest as upsample_nearest

__all__ = ["conv", "resize_nearest", "upsample_conv", "upsample_nearest"]
