r"""Power-function averages, whose width is a constant share of the training so far.

$$\hat\theta_\gamma(t) = \frac{\gamma + 1}{t^{\gamma + 1}} \int_0^t \tau^\gamma\, \theta(\tau)\, d\tau,\qquad
  \hat\theta_k = \beta_k\, \hat\theta_{k-1} + (1 - \beta_k)\, \theta_k,\quad \beta_k = (1 - 1/k)^{\gamma + 1}$$

The recursion is exactly the integral over a trajectory that is $\theta_k$ from time $k - 1$ to $k$; the initial value
has no effect ($\beta_1 = 0$). The width is $\sigma_\mathrm{rel}$, the standard deviation of the weight $\tau^\gamma$
over $[0, t]$ in units of $t$:

$$\sigma_\mathrm{rel}^2 = \frac{\gamma + 1}{(\gamma + 2)^2\, (\gamma + 3)}$$

References: Karras et al. 2024, https://arxiv.org/abs/2312.02696
"""

import math
from dataclasses import dataclass
from typing import Final, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from artifex.training.ema.constant import blend

P = TypeVar("P")

WIDEST: Final = 12**-0.5
r"""$\sigma_\mathrm{rel}$ of the plain mean, $\gamma = 0$."""


def gamma(sigma_rel: float) -> float:
    r"""Solve for the exponent: the largest root of $(\gamma+2)^2(\gamma+3) = (\gamma+1)/\sigma_\mathrm{rel}^2$.

    Args:
        sigma_rel: in (0, 12^-1/2], that of the mean; a wider average would favor early parameters.

    Raises:
        ValueError: if it is out of range.
    """
    if not 0 < sigma_rel <= WIDEST:
        raise ValueError(f"sigma_rel must be in (0, {WIDEST:.6f}], got {sigma_rel}")
    t = sigma_rel**-2
    return max(0.0, float(np.roots([1, 7, 16 - t, 12 - t]).real.max()))


def sigma_rel(gamma: float) -> float:
    """Compute the width of an exponent.

    Args:
        gamma: at least 0.

    Raises:
        ValueError: if it is out of range.
    """
    if not 0 <= gamma < math.inf:
        raise ValueError(f"gamma must be at least 0 and finite, got {gamma}")
    return math.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2)


@dataclass(frozen=True)
class PowerEMA:
    """Averages of several widths at once.

    Attributes:
        sigma_rels: widths, each in (0, 12^-1/2]; at least one, all different. Samples are drawn with the first.

    Raises:
        ValueError: for other widths.
    """

    sigma_rels: tuple[float, ...] = (0.05, 0.10)

    def __post_init__(self) -> None:
        if not self.sigma_rels or len(set(self.sigma_rels)) < len(self.sigma_rels):
            raise ValueError(f"sigma_rels must be at least one, all different, got {self.sigma_rels}")
        for width in self.sigma_rels:
            gamma(width)

    def init(self, parameters: P) -> tuple[P, ...]:
        """Copy the parameters for each width; the first update discards them."""
        return tuple(jax.tree.map(jnp.array, parameters) for _ in self.sigma_rels)

    def update(self, average: tuple[P, ...], parameters: P, k: Int[Array, ""] | int) -> tuple[P, ...]:
        """Update the averages with the parameters after update ``k``; every leaf keeps its dtype."""
        return tuple(
            blend(one, parameters, _share(gamma(width), k))
            for one, width in zip(average, self.sigma_rels, strict=True)
        )  # fmt: skip

    def read(self, average: tuple[P, ...]) -> P:
        """Return the average of the first width."""
        return average[0]


def _share(gamma: float, k: Int[Array, ""] | int) -> Float[Array, ""]:
    r"""Compute $1 - \beta_k$ accurately for small values."""
    return -jnp.expm1((gamma + 1) * jnp.log1p(-1 / jnp.asarray(k, jnp.float32)))
