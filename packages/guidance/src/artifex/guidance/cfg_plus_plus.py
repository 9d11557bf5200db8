"""CFG++ as a scale of classifier-free guidance."""

import numpy as np
from jaxtyping import Array

from artifex.guidance.scales import TableauLike, concrete
from artifex.schedules import ValueByTime
from artifex.schedules.arrays import record


@record
class CFGPlusPlus:
    r"""CFG++ as a scale by the step, for ``bind``: guide $x_0$ with $\lambda \in [0, 1]$, renoise without guidance.

    $$x_s = \alpha_s \big(x_0^- + \lambda (x_0^+ - x_0^-)\big) + k\, (x_t - \alpha_t x_0^-) + \text{noise}$$

    where $k$ is the coefficient of $x_t$ in the method's step, $\sigma_s / \sigma_t$ for DDIM. The method's own step
    with $x_0^- + w (x_0^+ - x_0^-)$ in place of $x_0$ is the same, if

    $$w = \frac{\lambda\, \alpha_s}{\alpha_s - k\, \alpha_t},\quad\text{for DDIM}\quad
      w = \frac{\lambda}{1 - e^{-h}},\ h = \log\frac{\alpha_s \sigma_t}{\alpha_t \sigma_s}$$

    This holds exactly for every method with one row per step and no memory: DDIM with any eta, DDPM, ``Euler`` and
    ``EulerAncestral``. Others raise an error: they would need formulas of their own. Pass it to ``LinearRule``, or to a
    guidance in place of a number; with another rule it is no longer the paper's method.

    Attributes:
        strength: $\lambda$, in [0, 1]; 1 renoises the conditional $x_0$ with the unconditional noise.

    Raises:
        ValueError: if the strength lies outside of [0, 1].

    References: Chung et al. 2024, https://arxiv.org/abs/2406.08070
    """

    strength: float | Array = 0.6

    def __post_init__(self) -> None:
        strength = concrete(self.strength)
        if strength is not None and not np.all((strength >= 0) & (strength <= 1)):
            raise ValueError(f"strength must be in [0, 1], got {self.strength}")

    def bind(self, tableau: TableauLike) -> ValueByTime:
        """The scale of each row of the table.

        Raises:
            ValueError: if the method keeps a base state or older predictions.
        """
        _, base, x0, *older = tableau.evaluate.T
        target = np.append(tableau.level.alpha[1:], tableau.end.alpha)
        if np.any(base) or any(map(np.any, older)):
            raise ValueError(
                "CFG++ is for a method with one row per step and no base state or older predictions, got one with them"
            )
        return ValueByTime(tableau.level.t, self.strength * target / x0)
