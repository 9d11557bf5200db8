"""Dynamic thresholding."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class DynamicThreshold:
    r"""Clip each sample to a range of its own, then scale it back to the range of the data.

    $$s_b = \mathrm{clip}\big(\mathrm{quantile}_q(|x_b|),\ \mathrm{limit},\ \mathrm{ceiling}\big),\qquad
      x_b' = \mathrm{clip}(x_b, -s_b, s_b)\, \mathrm{limit} / s_b$$

    The quantile is interpolated linearly between two order statistics.

    Attributes:
        quantile: $q$, in (0, 1].
        limit: the data's range is ``[-limit, limit]``; positive and finite.
        ceiling: the largest $s$, at least ``limit``.

    Raises:
        ValueError: for values outside those ranges.

    References: Saharia et al. 2022, https://arxiv.org/abs/2205.11487
    """

    quantile: float = 0.995
    limit: float = 1.0
    ceiling: float = math.inf

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ValueError(f"quantile must be in (0, 1], got {self.quantile}")
        if not (0 < self.limit <= self.ceiling and self.limit < math.inf):
            raise ValueError(f"limit must be positive, finite and at most ceiling, got {self.limit} and {self.ceiling}")

    def position(self, n: int) -> tuple[int, float]:
        """The position of the quantile among ``n`` sorted numbers: an index and a fraction of the way to the next."""
        at = self.quantile * (n - 1)
        below = min(math.floor(at), n - 1)
        return below, at - below
