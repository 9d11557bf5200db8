"""Queries and keys normed by head and rotated by position: what stands before attention."""

from artifex.kernels.qk_norm_rope.api import qk_norm_rope as qk_norm_rope

__all__ = ["qk_norm_rope"]
