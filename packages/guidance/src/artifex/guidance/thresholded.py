"""Dynamic thresholding after any guidance."""

import math
from typing import Generic, TypeVar

from artifex.guidance.base import Guidance
from artifex.kernels import DynamicThreshold
from artifex.schedules import ConditionalDenoiser, Denoiser, DynamicallyThresholded
from artifex.schedules.arrays import record, static

C = TypeVar("C")


@record
class Thresholded(Generic[C]):
    """A guidance followed by dynamic thresholding; see ``DynamicallyThresholded``.

    Attributes:
        guidance: the wrapped guidance.
        quantile: in (0, 1].
        limit: the data's range is ``[-limit, limit]``; positive.
        ceiling: the largest quantile that is scaled back, at least ``limit``.

    Raises:
        ValueError: for values outside those ranges.

    References: Saharia et al. 2022, https://arxiv.org/abs/2205.11487
    """

    guidance: Guidance[C]
    quantile: float = static(default=0.995)
    limit: float = static(default=1.0)
    ceiling: float = static(default=math.inf)

    def __post_init__(self) -> None:
        DynamicThreshold(self.quantile, self.limit, self.ceiling)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser."""
        return DynamicallyThresholded(self.guidance(denoiser, cond), self.quantile, self.limit, self.ceiling)
