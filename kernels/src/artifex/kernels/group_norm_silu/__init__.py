"""Group norm, modulation and SiLU, which precede the convolutions of a U-Net."""

from artifex.kernels.group_norm_silu.api import group_norm_silu as group_norm_silu

__all__ = ["group_norm_silu"]
