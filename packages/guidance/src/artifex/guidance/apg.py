"""Adaptive projected guidance."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from artifex.guidance.arithmetic import dot, safe_divide
from artifex.guidance.scales import Scale, check_scale, concrete, factor_at
from artifex.kernels.ranges import check_number
from artifex.schedules import NoiseLevel
from artifex.schedules.arrays import record
from artifex.schedules.shapes import X


@record
class APG:
    r"""A guidance step of bounded length, with less of the component parallel to $x_0$.

    $$\Delta = \min\Big(1, \frac{r}{\lVert x_0^+ - x_0^- \rVert}\Big) (x_0^+ - x_0^-),\quad
      \Delta_\parallel = \frac{\langle \Delta, x_0^+ \rangle}{\lVert x_0^+ \rVert^2} x_0^+,\qquad
      x_0^+ + (w - 1)(\Delta - \Delta_\parallel + \eta\, \Delta_\parallel)$$

    Norms are each sample's own. The paper's reverse momentum, a running mean of $\Delta$ over the steps, is omitted: a
    denoiser has no memory, so that sampling runs can be cut, repeated or solved adaptively.

    Attributes:
        scale: w.
        parallel: $\eta$, the factor of the parallel component: 0 as in the paper, 1 keeps all of it.
        radius: $r$, the largest length of $\Delta$, positive; infinite by default, because a suitable one grows with
            the size of the data.

    Raises:
        ValueError: if the scale or the parallel part is not finite, or the radius not positive.

    References: Sadat et al. 2024, https://arxiv.org/abs/2410.02416
    """

    scale: Scale = 7.5
    parallel: float | Array = 0.0
    radius: float | Array = math.inf

    def __post_init__(self) -> None:
        check_scale(self.scale)
        check_number("parallel", self.parallel)
        radius = concrete(self.radius)
        if radius is not None and not np.all(radius > 0):
            raise ValueError(f"radius must be positive, got {self.radius}")

    def combine(self, strong: X, weak: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The guided $x_0$."""
        w = factor_at(self.scale, level, strong)
        x0, step = strong.astype(w.dtype), strong.astype(w.dtype) - weak.astype(w.dtype)
        step = step * jnp.sqrt(jnp.minimum(1, safe_divide(jnp.asarray(self.radius, w.dtype) ** 2, dot(step, step), 1)))
        parallel = safe_divide(dot(step, x0), dot(x0, x0), 0) * x0
        return (x0 + (w - 1) * (step - (1 - self.parallel) * parallel)).astype(strong.dtype)
