"""The combination of a conditional and an unconditional output."""

from artifex.kernels.guided_combine.api import guided_combine as guided_combine
from artifex.kernels.guided_combine.threshold import DynamicThreshold as DynamicThreshold

__all__ = ["DynamicThreshold", "guided_combine"]
