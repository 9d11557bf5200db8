"""A conditional and an unconditional output put together."""

from artifex.kernels.guided_combine.api import guided_combine as guided_combine
from artifex.kernels.guided_combine.threshold import DynamicThreshold as DynamicThreshold

__all__ = ["DynamicThreshold", "guided_combine"]
