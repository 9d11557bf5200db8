r"""ER-SDE: solvers of extended reverse-time SDEs, with an adjustable amount of noise."""

from dataclasses import dataclass

import numpy as np

from artifex.samplers.multistep import columns, difference_weights, multistep, unit_quadrature
from artifex.samplers.steps import check_order, steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class ERSDE:
    r"""Keep the fraction $q = g(\rho_b) / g(\rho_a)$ of the noise, with $g(\rho) = e^{\rho^p} + c$ and $\phi = \rho g$.

    $$x_b / \alpha_b = \frac{\phi(\rho_b)}{\phi(\rho_a)} \frac{x_a}{\alpha_a} + \int \hat x_0\, d(\ldots) +
      \sqrt{\rho_b^2 - \rho_a^2 \phi(\rho_b)^2 / \phi(\rho_a)^2}\, z,\qquad
      M_m = 1 - m \int_0^1 \tau^{m-1} \frac{\phi(\rho_b)}{\phi(\rho_a + \tau (\rho_b - \rho_a))} d\tau$$

    $M_m$ are the moments of the polynomial in $\rho$ through the last predictions of $x_0$. Closed steps are of first
    order.

    Attributes:
        order: 1, 2 or 3.
        power: p, positive.
        offset: c, at least 0; larger values draw less noise.
        lower_order_final: whether the order falls to 1 over the last steps; None: only with fewer than 15 steps.

    Raises:
        ValueError: if a setting lies outside of its range.

    References: Cui et al. 2023, https://arxiv.org/abs/2309.06169
    """

    order: int = 3
    power: float = 0.3
    offset: float = 10.0
    lower_order_final: bool | None = None

    def __post_init__(self) -> None:
        check_order(self.order, 3)
        if not (0 < self.power < np.inf and 0 <= self.offset < np.inf):
            raise ValueError(f"power must be positive and offset at least 0, got {self.power} and {self.offset}")

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step."""
        steps, count = steps_along(schedule, times), self.order - 1
        orders = steps.orders(self.order, lower_order_final=self.lower_order_final)
        rho, target = steps.rho, steps.b.sigma / steps.b.alpha
        kept = np.where(steps.a.alpha > 0, np.exp(self._log_g(target) - self._log_g(rho)), 0.0)

        points, weight = unit_quadrature()
        u = rho[:, None] * np.exp(-steps.h[:, None] * points)
        width = np.where(steps.finite, target - rho, -1.0)
        tau = (u - rho[:, None]) / width[:, None]
        fall = np.exp(self._log_g(target)[:, None] - self._log_g(u)) * (steps.h * target / width)[:, None]
        integrals = [1 + m * (tau ** (m - 1) * fall) @ weight for m in range(1, count + 1)]
        nodes = (steps.older(rho, count) - rho[:, None]) / width[:, None]
        weights = difference_weights(nodes, columns(integrals, len(steps)), orders)
        return multistep(steps, steps.b.alpha[:, None] * weights, kept)

    def _log_g(self, rho: HostArray) -> HostArray:
        r"""$\log g$; $g$ itself would overflow."""
        offset = np.log(self.offset) if self.offset else -np.inf
        return np.logaddexp(rho**self.power, offset)
