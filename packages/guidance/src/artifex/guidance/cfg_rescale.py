"""Guidance that keeps the spread of the conditional output."""

import jax
import numpy as np
from jaxtyping import Array, Float

from artifex.guidance.scales import Scale, check_scale, known, scale_at
from artifex.kernels import guided_combine
from artifex.schedules import X0, NoiseLevel, Prediction, V, convert, record, static

X = Float[Array, "b *d"]


@record
class CFGRescale:
    r"""The linear rule, scaled back towards the standard deviation of the strong output.

    $$g = o^- + w\, (o^+ - o^-),\qquad g' = \Big(1 - \phi + \phi\, \frac{\mathrm{std}(o^+)}{\mathrm{std}(g)}\Big)\, g$$

    The deviations are each sample's own. It is no linear rule, so it matters what the outputs $o$ are.

    Attributes:
        scale: w.
        share: $\phi$, in [0, 1]; 0 is the linear rule.
        space: what the outputs are taken as; the velocity as in the paper. ``X0()`` holds $x_0$ itself.

    Raises:
        ValueError: if the scale is not finite, or the share lies outside of [0, 1].

    References: Lin et al. 2023, https://arxiv.org/abs/2305.08891
    """

    scale: Scale = 7.5
    share: float | Array = 0.7
    space: Prediction = static(default=V())

    def __post_init__(self) -> None:
        check_scale(self.scale)
        share = known(self.share)
        if share is not None and not np.all((share >= 0) & (share <= 1)):
            raise ValueError(f"share must be in [0, 1], got {self.share}")

    def combine(self, strong: X, weak: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The guided $x_0$."""
        towards, away = (convert(x0, x_t, level, X0(), self.space) for x0 in (strong, weak))
        out = guided_combine(towards, away, scale_at(self.scale, level, x_t), rescale=self.share)
        return self.space.clean(out, x_t, level)
