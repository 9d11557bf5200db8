r"""PNDM: Adams and Bashforth's classical coefficients on the noise, whatever the spacing."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from artifex.samplers.path import Path, check_order, each, path_of, take
from artifex.samplers.rows import multistep_noise, noise_of, noise_rows
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import Host, Schedule

ADAMS: Final = np.array(
    [
        [0, 0, 0],
        [-1 / 2, 0, 0],
        [-16 / 12, 5 / 12, 0],
        [-59 / 24, 37 / 24, -9 / 24],
    ]
)
"""What the older slopes weigh at orders 1 to 4; the newest makes them sum to 1."""


@dataclass(frozen=True)
class Pndm:
    r"""PLMS: a DDIM step with the slope that four predictions give.

    $$x_b = \frac{\alpha_b}{\alpha_a} x_a + \alpha_b (\rho_b - \rho_a)\, \frac{
      55 \hat\epsilon - 59 \hat\epsilon_{-1} + 37 \hat\epsilon_{-2} - 9 \hat\epsilon_{-3}}{24},\quad
      \rho = \sigma / \alpha$$

    The coefficients are those of steps of one length in $\rho$. On grids where the length changes smoothly the method
    is of second order.

    Attributes:
        order: 1 to 4.
        warmup: how it starts: ``"heun"`` takes the first step twice, the second time with the mean slope of its ends,
            which costs one call more; ``"euler"`` starts with Euler's step. The order rises by one with each step.

    Raises:
        ValueError: for another ``order`` or ``warmup``; by ``tableau``, for fewer steps than ``order``.

    References: Liu et al. 2022, https://arxiv.org/abs/2202.09778
    """

    order: int = 4
    warmup: Literal["heun", "euler"] = "heun"

    def __post_init__(self) -> None:
        check_order(self.order, 4)
        if self.warmup not in ("heun", "euler"):
            raise ValueError(f"warmup must be 'heun' or 'euler', got {self.warmup!r}")

    def tableau(self, schedule: Schedule, times: Host) -> Tableau[Host]:
        """One row a step, and one more to warm up; none at a start without signal or a first step to clean data."""
        steps = path_of(schedule, times)
        orders = steps.orders(self.order, closes=False)
        older = steps.drift[:, None] * ADAMS[orders - 1]
        if self.warmup == "euler" or not steps.open[0]:
            return multistep_noise(steps, older)
        return _warmed(steps, older)


def _warmed(steps: Path, older: Host) -> Tableau[Host]:
    r"""The table of ``older`` with one row more after the first, which goes back and takes the mean of two slopes.

    That row's prediction is in the history but in no polynomial, so the one before it lies a place further back.
    """
    rows, keep = noise_rows(steps, older)
    rows = np.column_stack([rows, np.zeros(steps.steps)])
    for i in range(1, min(steps.steps, 4)):
        rows[i, 3 + i], rows[i, 2 + i] = rows[i, 2 + i], 0.0
    first, second = take(steps.a, 0), take(steps.b, 0)
    slope, kept = steps.drift[0] / 2, noise_of(second)
    again = np.zeros(rows.shape[1])
    again[[0, 2]] = slope * kept
    again[[1, 3]] = second.alpha / first.alpha, slope
    base = np.zeros((steps.steps + 1, rows.shape[1]))
    base[0, 0] = base[1, 1] = 1
    return tabulate(
        each(lambda a, b: np.insert(a, 1, b[0]), steps.a, steps.b),
        steps.end,
        np.insert(rows, 1, again, axis=0),
        base=base,
        keep=np.insert(keep, 1, kept, axis=0),
    )
