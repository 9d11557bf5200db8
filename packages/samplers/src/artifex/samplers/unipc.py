r"""UniPC: a predictor and a corrector of one family, with one call of the network a step for both."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from artifex.samplers.path import check_order, path_of
from artifex.samplers.rows import data_rows, lean, moments
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import Host, Schedule


@dataclass(frozen=True)
class UniPc:
    r"""Predicts as DPM-Solver++ does, and corrects each state once the network has been called there.

    Row ``i`` first redoes the step that led to it, now with the newest prediction as one more node at $\tau = 1$, and
    keeps the result as the base state; then it predicts from there. Where a polynomial has one node beside its anchor,
    its slope weighs $\tfrac12 B(h)$, with $B = h$ (``"bh1"``) or $1 - e^{-h}$ (``"bh2"``); all else is exact. A
    corrector of order p makes the whole of order p + 1. Closed steps are of first order and stay uncorrected.

    Attributes:
        order: of the predictor, 1, 2 or 3.
        variant: ``"bh1"`` or ``"bh2"``.
        corrector: whether to correct.
        lower_final: whether the order falls to 1 over the last steps; None: in walks of fewer than 15 steps.

    Raises:
        ValueError: for another ``order`` or ``variant``; by ``tableau``, for fewer steps than ``order``.

    References: Zhao et al. 2023, https://arxiv.org/abs/2302.04867
    """

    order: int = 2
    variant: Literal["bh1", "bh2"] = "bh2"
    corrector: bool = True
    lower_final: bool | None = True

    def __post_init__(self) -> None:
        check_order(self.order, 3)
        if self.variant not in ("bh1", "bh2"):
            raise ValueError(f"variant must be 'bh1' or 'bh2', got {self.variant!r}")

    def tableau(self, schedule: Schedule, times: Host) -> Tableau[Host]:
        """One row a step."""
        steps = path_of(schedule, times)
        orders = steps.orders(self.order, lower_final=self.lower_final)
        half_b = (steps.h if self.variant == "bh1" else -np.expm1(-steps.h)) / 2
        exact, places = moments(steps.h, self.order), steps.nodes(self.order - 1)

        integrals = exact[:, : self.order - 1].copy()
        integrals[orders == 2, :1] = half_b[orders == 2, None]
        older = steps.b.alpha[:, None] * lean(places, integrals, orders)
        evaluate, _ = data_rows(steps, older)
        evaluate = np.column_stack([evaluate, np.zeros(steps.steps)])
        if not self.corrector:
            return tabulate(steps.a, steps.end, evaluate)
        evaluate[:, [0, 1]] = evaluate[:, [1, 0]]

        exact[orders == 1, 0] = half_b[orders == 1]
        places = np.column_stack([np.ones(steps.steps), places])
        weights = steps.b.alpha[:, None] * lean(places, exact, orders + 1)
        redone, _ = data_rows(steps, weights)
        base = np.zeros_like(evaluate)
        # the step before ended here: its anchor is H[0] by now, its older predictions H[1] and on
        base[1:, 1] = redone[:-1, 0]
        base[1:, 2] = weights[:-1, 0]
        base[1:, 3] = redone[:-1, 2]
        base[1:, 4:] = weights[:-1, 1:]
        plain = np.append(True, ~steps.open[:-1])
        base[plain] = 0
        base[plain, 0] = 1
        return tabulate(steps.a, steps.end, evaluate, base=base)
