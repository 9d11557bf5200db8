"""CFG++: guidance that stays on the manifold, as a scale."""

import numpy as np
from jaxtyping import Array

from artifex.guidance.scales import TableauLike, concrete
from artifex.schedules import ValueByTime
from artifex.schedules.arrays import record


@record
class CFGPlusPlus:
    r"""CFG++ as a scale by the step, for ``bind``: guide $x_0$ with $\lambda \in [0, 1]$, renoise without guidance.

    $$x_s = \alpha_s \big(x_0^- + \lambda (x_0^+ - x_0^-)\big) + k\, (x_t - \alpha_t x_0^-) + \text{noise}$$

    where $k$ is the factor of $x_t$ in the method's own step, $\sigma_s / \sigma_t$ for DDIM. Its own step with
    $x_0^- + w (x_0^+ - x_0^-)$ in place of $x_0$ is the same one, if

    $$w = \frac{\lambda\, \alpha_s}{\alpha_s - k\, \alpha_t},\quad\text{for DDIM}\quad
      w = \frac{\lambda}{1 - e^{-h}},\ h = \log\frac{\alpha_s \sigma_t}{\alpha_t \sigma_s}$$

    This holds exactly for every method with one row a step and no memory: DDIM with any eta, DDPM, ``Euler`` and
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

    def bind(self, walk: TableauLike) -> ValueByTime:
        """A number for each row of the walk.

        Raises:
            ValueError: if the walk's method keeps a base state or older predictions.
        """
        _, base, clean, *older = walk.evaluate.T
        goal = np.append(walk.level.alpha[1:], walk.end.alpha)
        if np.any(base) or any(map(np.any, older)):
            raise ValueError(
                "CFG++ is for a method with one row a step and no base state or older predictions, got one with them"
            )
        return ValueByTime(walk.level.t, self.strength * goal / clean)
