r"""DEIS: polynomials through older predictions of the noise, integrated over $\rho = \sigma / \alpha$.

$$x_b / \alpha_b = x_a / \alpha_a + \int_{\rho_a}^{\rho_b} \hat\epsilon\, d\rho$$
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from artifex.samplers.multistep import (
    adams_bashforth,
    columns,
    difference_weights,
    moments,
    multistep_eps,
    unit_quadrature,
)
from artifex.samplers.steps import check_order, steps_along
from artifex.samplers.tableau import Tableau
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class DEIS:
    r"""DEIS: the polynomial through the last predictions in another variable, integrated over $\rho$.

    Over the time (tAB-DEIS) the integrals are Gauss-Legendre quadratures of 32 points. Over $\log \rho$ they are exact,
    as those of a multistep DPM-Solver, and a closed last step is of first order.

    Attributes:
        order: 1, 2 or 3.
        variable: ``"time"``, or ``"logrho"`` as in diffusers.
        lower_order_final: whether the order falls to 1 over the last steps; None: only with fewer than 15 steps.

    Raises:
        ValueError: for another ``order`` or ``variable``.

    References: Zhang and Chen 2023, https://arxiv.org/abs/2204.13902
    """

    order: int = 3
    variable: Literal["time", "logrho"] = "time"
    lower_order_final: bool | None = None

    def __post_init__(self) -> None:
        check_order(self.order, 3)
        if self.variable not in ("time", "logrho"):
            raise ValueError(f"variable must be 'time' or 'logrho', got {self.variable!r}")

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step."""
        steps, count = steps_along(schedule, times), self.order - 1
        if self.variable == "logrho":
            orders = steps.orders(self.order, lower_order_final=self.lower_order_final)
            coefficients = difference_weights(steps.nodes(count), moments(-steps.h, count), orders)
            return multistep_eps(steps, steps.b.sigma[:, None] * coefficients)
        points, weights = unit_quadrature()
        rho = steps.rho[:, None] + points * np.where(steps.a.alpha > 0, steps.drift / steps.b.alpha, 0.0)[:, None]
        span = steps.b.t - steps.a.t  # infinite if the schedule reaches clean data only at infinity
        width = np.where(np.isfinite(span), span, 1.0)
        time = steps.a.t.astype(np.float64)
        along = (schedule.inverse_logsnr(-2 * np.log(rho)) - time[:, None]) / width[:, None]
        finite = np.isfinite(span)[:, None]
        integrals = np.where(finite, columns([along**m @ weights for m in range(1, count + 1)], len(steps)), 0.0)
        return adams_bashforth(steps, self.order, time, width, integrals, self.lower_order_final)
