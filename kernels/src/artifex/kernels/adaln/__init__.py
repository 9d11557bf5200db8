"""A gated residual, layer norm, scale and shift: what stands between the branches of a diffusion transformer."""

from artifex.kernels.adaln.api import adaln as adaln

__all__ = ["adaln"]
