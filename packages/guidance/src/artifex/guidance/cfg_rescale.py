"""Classifier-free guidance rescaled to the standard deviation of the conditional output."""

import jax
import numpy as np
from jaxtyping import Array

from artifex.guidance.scales import Scale, check_scale, concrete, scale_at
from artifex.kernels import guided_combine
from artifex.schedules import X0, NoiseLevel, Prediction, V, convert
from artifex.schedules.arrays import record, static
from artifex.schedules.shapes import X


@record
class CFGRescale:
    r"""The linear rule, scaled back towards the standard deviation of the strong output.

    $$g = o^- + w\, (o^+ - o^-),\qquad g' = \Big(1 - \phi + \phi\, \frac{\mathrm{std}(o^+)}{\mathrm{std}(g)}\Big)\, g$$

    Standard deviations are each sample's own. The rule is not linear, so it depends on the type of the outputs $o$.

    Attributes:
        scale: w.
        phi: $\phi$, in [0, 1]; 0 is the linear rule.
        prediction: the type of the outputs: $v$ as in the paper; ``X0()`` rescales $x_0$ itself.

    Raises:
        ValueError: if the scale is not finite, or ``phi`` lies outside of [0, 1].

    References: Lin et al. 2023, https://arxiv.org/abs/2305.08891
    """

    scale: Scale = 7.5
    phi: float | Array = 0.7
    prediction: Prediction = static(default=V())

    def __post_init__(self) -> None:
        check_scale(self.scale)
        phi = concrete(self.phi)
        if phi is not None and not np.all((phi >= 0) & (phi <= 1)):
            raise ValueError(f"phi must be in [0, 1], got {self.phi}")

    def combine(self, strong: X, weak: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The guided $x_0$."""
        towards, away = (convert(x0, x_t, level, X0(), self.prediction) for x0 in (strong, weak))
        out = guided_combine(towards, away, scale_at(self.scale, level, x_t), rescale=self.phi)
        return self.prediction.to_x0(out, x_t, level)
