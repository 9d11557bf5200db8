"""Softmax attention."""

from artifex.kernels.attention.api import attention as attention

__all__ = ["attention"]
