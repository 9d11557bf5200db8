"""Guidance in a limited interval of noise levels."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.guidance.scales import Scale, check_scale, concrete, scale_at
from artifex.kernels.ranges import check_number
from artifex.schedules import NoiseLevel
from artifex.schedules.arrays import record


@record
class Interval:
    r"""A scale for the noise levels with $\sigma / \alpha$ in (low, high], and no guidance elsewhere.

    A rule with such a scale does not evaluate the weak prediction outside of the interval.

    Attributes:
        scale: the scale inside.
        low: a ratio of noise to signal, at least 0.
        high: above ``low``. The defaults are the paper's for EDM2-XXL on ImageNet-512.
        outside: the scale of no guidance: 1 for a rule, 0 for ``Classifier`` and ``Loss``.

    Raises:
        ValueError: if the ends are negative or do not rise, or a scale is not finite.

    References: Kynkäänniemi et al. 2024, https://arxiv.org/abs/2404.07724
    """

    scale: Scale
    low: float | Array = 0.19
    high: float | Array = 1.61
    outside: float | Array = 1.0

    def __post_init__(self) -> None:
        check_scale(self.scale)
        check_number("outside", self.outside)
        low, high = concrete(self.low), concrete(self.high)
        if low is not None and high is not None and not np.all((low >= 0) & (low < high)):
            raise ValueError(f"the interval must rise from at least 0, got low {self.low} and high {self.high}")

    def __call__(self, level: NoiseLevel[jax.Array]) -> Float[Array, "..."]:
        """The scale, one per sample."""
        # products, because alpha may be 0
        low, high, outside = (jnp.asarray(v, level.alpha.dtype) for v in (self.low, self.high, self.outside))
        inside = (level.sigma > low * level.alpha) & (level.sigma <= high * level.alpha)
        return jnp.where(inside, scale_at(self.scale, level, level.sigma), outside)
