r"""PNDM: the classical Adams-Bashforth coefficients on the noise, for any spacing."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from artifex.samplers.multistep import eps_rows, eps_weights, multistep_eps
from artifex.samplers.steps import Flags, StepSequence, check_order, steps_along, take
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray

ADAMS: Final = np.array(
    [
        [0, 0, 0],
        [-1 / 2, 0, 0],
        [-16 / 12, 5 / 12, 0],
        [-59 / 24, 37 / 24, -9 / 24],
    ]
)
"""Weights of the older slopes at orders 1 to 4; with that of the newest they sum to 1."""
HEUN: Final = np.array([[1, 0], [1 / 2, 1 / 2]])
RUNGE_KUTTA: Final = np.array([[1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0], [1 / 6, 1 / 3, 1 / 3, 1 / 6]])
"""Weights of slopes in warmup steps, one row per call of the network."""


@dataclass(frozen=True)
class PNDM:
    r"""PLMS: a DDIM step with a slope from four predictions.

    $$x_b = \frac{\alpha_b}{\alpha_a} x_a + \alpha_b (\rho_b - \rho_a)\, \frac{
      55 \hat\epsilon - 59 \hat\epsilon_{-1} + 37 \hat\epsilon_{-2} - 9 \hat\epsilon_{-3}}{24},\quad
      \rho = \sigma / \alpha$$

    The coefficients are exact for equal steps in $\rho$. On grids with smoothly varying steps the method is of second
    order.

    Attributes:
        order: 1 to 4.
        warmup: the starting method. ``"heun"`` repeats the first step with the mean slope of its ends, one call more;
            ``"euler"`` starts with Euler's step, as a single step always does; after either the order rises by one per
            step. ``"runge-kutta"`` takes the first ``order - 1`` steps by the classical Runge-Kutta method, with the
            two middle calls at the middle of the times: three calls more in each, and a history of twelve predictions.

    Raises:
        ValueError: for another ``order`` or ``warmup``.

    References: Liu et al. 2022, https://arxiv.org/abs/2202.09778
    """

    order: int = 4
    warmup: Literal["heun", "euler", "runge-kutta"] = "heun"

    def __post_init__(self) -> None:
        check_order(self.order, 4)
        if self.warmup not in ("heun", "euler", "runge-kutta"):
            raise ValueError(f"warmup must be 'heun', 'euler' or 'runge-kutta', got {self.warmup!r}")

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step; more in warmup, except for steps from pure noise or to clean data."""
        steps = steps_along(schedule, times)
        orders = steps.orders(self.order, closes=False)
        older = steps.drift[:, None] * ADAMS[orders - 1]
        if self.warmup == "euler":
            return multistep_eps(steps, older)
        if self.warmup == "heun":
            return _with_warmup(
                schedule, steps, older, HEUN, steps.finite & (np.arange(len(steps)) < min(len(steps) - 1, 1))
            )
        return _with_warmup(schedule, steps, older, RUNGE_KUTTA, steps.finite & (orders < self.order))


def _with_warmup(
    schedule: Schedule, steps: StepSequence, older: HostArray, stages: HostArray, warm: Flags
) -> Tableau[HostArray]:
    r"""The table of ``older`` with the first steps taken by a singlestep method.

    After call l of such a step, with its $\hat\epsilon_l$, the state advances from the beginning of the step by the
    fraction $c_l = \sum_m s_{lm}$ of its time, with the slope $\sum_m s_{lm} \hat\epsilon_m / c_l$. Polynomials use
    only the first call.

    Args:
        schedule: the schedule of the steps.
        steps: the steps.
        older: weights of the older slopes, ``(steps, 3)``.
        stages: s, ``(calls, calls)``, lower triangular.
        warm: flags of the steps by the singlestep method; all must be finite.
    """
    older = np.where(warm[:, None], 0.0, older)
    calls = np.where(warm, len(stages), 1)
    first = np.cumsum(calls) - calls
    i, j = np.nonzero(older)
    age = first[i] - first[i - j - 1] - 1
    plain, _ = eps_rows(steps, older)
    history = max(age.max(initial=-1) + 1, calls.max() - 1)
    evaluate = np.zeros((calls.sum(), 3 + history))
    evaluate[first, :3] = plain[:, :3]
    evaluate[first[i], 3 + age] = older[i, j]
    base = np.zeros_like(evaluate)
    fraction = stages.sum(axis=1)
    targets = (1 - fraction) * steps.a.t[:, None] + fraction * steps.b.t[:, None]
    times = np.repeat(steps.a.t.astype(np.float64), calls)
    for step in np.flatnonzero(warm):
        times[first[step] + np.arange(1, len(stages))] = targets[step, :-1]
    level = schedule.at(times)
    for step in np.flatnonzero(warm):
        a, target, rows = take(steps.a, int(step)), schedule.at(targets[step]), first[step] + np.arange(len(stages))
        ratio = target.alpha / a.alpha
        slopes = stages * ((target.sigma - ratio * a.sigma) / fraction)[:, None]
        newest = np.diag(slopes)[:, None] * eps_weights(take(level, rows))
        evaluate[rows, :3] = np.column_stack([newest[:, 0], ratio, newest[:, 1]])
        for call, row in enumerate(rows):
            evaluate[row, 3 : 3 + call] = slopes[call, :call][::-1]
        base[rows, np.minimum(np.arange(len(rows)), 1)] = 1
    return tabulate(level, steps.end, evaluate, base=base, keep=eps_weights(level))
