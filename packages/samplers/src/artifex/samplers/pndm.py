r"""PNDM: Adams and Bashforth's classical coefficients on the noise, whatever the spacing."""

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
"""What the older slopes weigh at orders 1 to 4; the newest makes them sum to 1."""
HEUN: Final = np.array([[1, 0], [1 / 2, 1 / 2]])
RUNGE_KUTTA: Final = np.array([[1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0], [1 / 6, 1 / 3, 1 / 3, 1 / 6]])
"""What slopes weigh in the steps to warm up, a line for each call of the network."""


@dataclass(frozen=True)
class PNDM:
    r"""PLMS: a DDIM step with the slope that four predictions give.

    $$x_b = \frac{\alpha_b}{\alpha_a} x_a + \alpha_b (\rho_b - \rho_a)\, \frac{
      55 \hat\epsilon - 59 \hat\epsilon_{-1} + 37 \hat\epsilon_{-2} - 9 \hat\epsilon_{-3}}{24},\quad
      \rho = \sigma / \alpha$$

    The coefficients are those of steps of one length in $\rho$. On grids where the length changes smoothly the method
    is of second order.

    Attributes:
        order: 1 to 4.
        warmup: how it starts. ``"heun"`` takes the first step twice, the second time with the mean slope of its ends,
            which costs one call more, and the order rises by one with each step; so it does after ``"euler"``, which
            starts with Euler's step, as a walk of a single step does. ``"runge-kutta"`` takes the first steps, one
            fewer than ``order``, by Runge and Kutta's classical method with the two middle calls at the middle of the
            times: three calls more in each, and twelve predictions to keep.

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
        """One row a step, and more to warm up, but not for a step from no signal or to clean data."""
        steps = steps_along(schedule, times)
        orders = steps.orders(self.order, closes=False)
        older = steps.drift[:, None] * ADAMS[orders - 1]
        if self.warmup == "euler":
            return multistep_eps(steps, older)
        if self.warmup == "heun":
            return _started(
                schedule, steps, older, HEUN, steps.finite & (np.arange(steps.steps) < min(steps.steps - 1, 1))
            )
        return _started(schedule, steps, older, RUNGE_KUTTA, steps.finite & (orders < self.order))


def _started(
    schedule: Schedule, steps: StepSequence, older: HostArray, stages: HostArray, warm: Flags
) -> Tableau[HostArray]:
    r"""The table of ``older`` where some of the first steps are of another method, of one step and several calls.

    After call l of such a step, with its $\hat\epsilon_l$, the walk goes from the step's beginning by the part
    $c_l = \sum_m s_{lm}$ of its time, with the slope $\sum_m s_{lm} \hat\epsilon_m / c_l$. Polynomials use the first
    call alone.

    Args:
        schedule: of the walk.
        steps: its steps.
        older: what the older slopes weigh, ``(steps, 3)``.
        stages: s, ``(calls, calls)``, lower triangular.
        warm: which steps are of the other method, open ones only.
    """
    older = np.where(warm[:, None], 0.0, older)
    calls = np.where(warm, len(stages), 1)
    first = np.cumsum(calls) - calls
    i, j = np.nonzero(older)
    place = first[i] - first[i - j - 1] - 1
    plain, _ = eps_rows(steps, older)
    history = max(place.max(initial=-1) + 1, calls.max() - 1)
    evaluate = np.zeros((calls.sum(), 3 + history))
    evaluate[first, :3] = plain[:, :3]
    evaluate[first[i], 3 + place] = older[i, j]
    base = np.zeros_like(evaluate)
    part = stages.sum(axis=1)
    goals = (1 - part) * steps.a.t[:, None] + part * steps.b.t[:, None]
    times = np.repeat(steps.a.t.astype(np.float64), calls)
    for step in np.flatnonzero(warm):
        times[first[step] + np.arange(1, len(stages))] = goals[step, :-1]
    level = schedule.at(times)
    for step in np.flatnonzero(warm):
        a, goal, rows = take(steps.a, int(step)), schedule.at(goals[step]), first[step] + np.arange(len(stages))
        ratio = goal.alpha / a.alpha
        slopes = stages * ((goal.sigma - ratio * a.sigma) / part)[:, None]
        newest = np.diag(slopes)[:, None] * eps_weights(take(level, rows))
        evaluate[rows, :3] = np.column_stack([newest[:, 0], ratio, newest[:, 1]])
        for call, row in enumerate(rows):
            evaluate[row, 3 : 3 + call] = slopes[call, :call][::-1]
        base[rows, np.minimum(np.arange(len(rows)), 1)] = 1
    return tabulate(level, steps.end, evaluate, base=base, keep=eps_weights(level))
