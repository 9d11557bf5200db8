r"""UniPC: a predictor and a corrector that share one call of the network per step."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from artifex.kernels.ranges import check_whole
from artifex.samplers.multistep import difference_weights, eps_weights, moments
from artifex.samplers.steps import check_order, steps_along
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class UniPC:
    r"""Predict as DPM-Solver++, and correct each state after the call of the network there.

    Row ``i`` first repeats the step that led to it, with the newest prediction as another node at $\tau = 1$, keeps the
    result as the base state, and predicts from there. The slope of a polynomial through two nodes has the weight
    $\tfrac12 B(h)$, with $B = h$ (``"bh1"``) or $1 - e^{-h}$ (``"bh2"``); all other weights are exact. The corrector
    raises order p to p + 1. Closed steps are of first order and uncorrected.

    Attributes:
        order: the order of the predictor, 1, 2 or 3.
        solver_type: ``"bh1"`` or ``"bh2"``.
        predict_x0: whether polynomials go through $\hat x_0$, as in DPM-Solver++; else through $\hat\epsilon$, as in
            DPM-Solver, with $-h$ for $h$.
        corrector: whether to correct.
        disable_corrector: the steps, counted from 0, without correction.
        lower_order_final: whether the order falls to 1 over the last steps; None: only with fewer than 15 steps.

    Raises:
        ValueError: for another ``order`` or ``solver_type``.

    References: Zhao et al. 2023, https://arxiv.org/abs/2302.04867
    """

    order: int = 2
    solver_type: Literal["bh1", "bh2"] = "bh2"
    predict_x0: bool = True
    corrector: bool = True
    lower_order_final: bool | None = True
    disable_corrector: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_order(self.order, 3)
        for step in self.disable_corrector:
            check_whole("disable_corrector", step, 0)
        if self.solver_type not in ("bh1", "bh2"):
            raise ValueError(f"solver_type must be 'bh1' or 'bh2', got {self.solver_type!r}")

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step."""
        steps = steps_along(schedule, times)
        orders = steps.orders(self.order, lower_order_final=self.lower_order_final)
        # a step is: ride x + gain P + sum_j c_j (P_j - P), where P = keep . [x, D] is extrapolated
        k, size = steps.h, steps.b.alpha
        ride = steps.b.sigma / steps.a.sigma
        gain, keep = steps.b.alpha - ride * steps.a.alpha, np.tile([0.0, 1.0], (len(steps), 1))
        if not self.predict_x0:
            has_signal = steps.a.alpha > 0
            k, size = -steps.h, steps.b.sigma
            ride = np.where(has_signal, steps.b.alpha / np.where(has_signal, steps.a.alpha, 1.0), ride)
            gain = np.where(has_signal, steps.drift, gain)
            keep = np.where(has_signal[:, None], eps_weights(steps.a), keep)
        half_b = (k if self.solver_type == "bh1" else -np.expm1(-k)) / 2
        exact, nodes = moments(k, self.order), steps.nodes(self.order - 1)

        integrals = exact[:, : self.order - 1].copy()
        integrals[orders == 2, :1] = half_b[orders == 2, None]
        older = size[:, None] * difference_weights(nodes, integrals, orders)
        newest = (gain - older.sum(axis=1))[:, None] * keep
        evaluate = np.column_stack([newest[:, 0], ride, newest[:, 1], older, np.zeros(len(steps))])
        if not self.corrector:
            evaluate[:, 0], evaluate[:, 1] = evaluate[:, 0] + ride, 0.0
            return tabulate(steps.a, steps.end, evaluate, keep=keep)

        exact[orders == 1, 0] = half_b[orders == 1]
        nodes = np.column_stack([np.ones(len(steps)), nodes])
        weights = size[:, None] * difference_weights(nodes, exact, orders + 1)
        base = np.zeros_like(evaluate)
        # the previous step ended here: its P is H[0] now, its older ones H[1] onwards
        base[1:, [0, 2]] = weights[:-1, :1] * keep[1:]
        base[1:, 1] = ride[:-1]
        base[1:, 3] = (gain - weights.sum(axis=1))[:-1]
        base[1:, 4:] = weights[:-1, 1:]
        uncorrected = np.append(True, ~steps.finite[:-1] | np.isin(np.arange(len(steps) - 1), self.disable_corrector))
        base[uncorrected] = 0
        base[uncorrected, 0] = 1
        return tabulate(steps.a, steps.end, evaluate, base=base, keep=keep)
