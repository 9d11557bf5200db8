r"""A walk's levels as steps, and the quantities of a step that solvers are written in.

Symbols: a step goes from level ``a`` to level ``b``; $\rho = \sigma / \alpha$, $\lambda = \log(\alpha / \sigma)$,
$h = \lambda_b - \lambda_a > 0$. A path may start without signal ($\alpha_a = 0$) and end without noise
($\sigma_b = 0$), where $h$ is infinite; such a step is called closed, and solvers in $\lambda$ take it at first order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from artifex.kernels.ranges import check_whole
from artifex.samplers.tableau import levels
from artifex.schedules import NoiseLevel, Schedule
from artifex.schedules.arrays import HostArray

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
SHORT: Final = 15


@dataclass(frozen=True)
class StepSequence:
    """The steps of a walk, noise first.

    Attributes:
        a: where each step starts, arrays of shape ``(steps,)``.
        b: where it goes.
        end: where the walk ends, arrays of shape ``()``.
    """

    a: NoiseLevel[HostArray]
    b: NoiseLevel[HostArray]
    end: NoiseLevel[HostArray]

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(self.a.alpha)

    @property
    def finite(self) -> Flags:
        """Which steps have a finite h."""
        return (self.a.alpha > 0) & (self.b.sigma > 0)

    @property
    def exp_neg_h(self) -> HostArray:
        r"""$e^{-h} = \rho_b / \rho_a$; 0 for a closed step."""
        return self.a.alpha * self.b.sigma / (self.b.alpha * self.a.sigma)

    @property
    def h(self) -> HostArray:
        """$h$, and 1 for a closed step, whose value no solver looks at."""
        return -np.log(np.where(self.finite, self.exp_neg_h, np.exp(-1.0)))

    @property
    def lam(self) -> HostArray:
        r"""$\lambda_a$; $-\infty$ where there is no signal."""
        return self.a.logsnr / 2

    @property
    def rho(self) -> HostArray:
        r"""$\rho_a$, and 1 where there is no signal and no solver looks at it."""
        return self.a.sigma / np.where(self.a.alpha > 0, self.a.alpha, self.a.sigma)

    @property
    def drift(self) -> HostArray:
        r"""$\alpha_b (\rho_b - \rho_a)$, what a frozen $\hat\epsilon$ contributes; 0 where there is no signal."""
        known = self.a.alpha > 0
        return np.where(known, self.b.sigma - self.b.alpha * self.rho, 0.0)

    def orders(
        self, order: int, *, closes: bool = True, lower_order_final: bool | None = False, euler_at_final: bool = False
    ) -> Ints:
        """The order that each step of a multistep method can have: at most the number of predictions so far.

        Older predictions count from a finite log-SNR on; a step without signal is of first order. So a walk of any
        number of steps can be taken, one of fewer than ``order`` at lower order throughout.

        Args:
            order: the method's.
            closes: whether a closed last step is of first order too.
            lower_order_final: whether the last steps fall back, to 1 for the last, 2 for the one before; None: if there
                are fewer than 15 steps.
            euler_at_final: whether the last step alone falls back to 1.
        """
        place = np.arange(self.steps)
        out = np.minimum(order, np.maximum(place + 1 - np.count_nonzero(self.a.alpha == 0), 1))
        if closes:
            out = np.where(self.finite, out, 1)
        settles = self.steps < SHORT if lower_order_final is None else lower_order_final
        lowered: Ints = np.minimum(out, self.steps - place) if settles else out
        return np.where(place == self.steps - 1, 1, lowered) if euler_at_final else lowered

    def nodes(self, count: int) -> HostArray:
        r"""Where older predictions lie, in steps of $\lambda$ from now: $\tau_j = (\lambda_{-j} - \lambda_a) / h$.

        Of shape ``(steps, count)``, the nearest first.
        """
        half = np.where(self.a.alpha > 0, self.lam, 0.0)
        out: HostArray = (self.older(half, count) - half[:, None]) / self.h[:, None]
        return out

    def older(self, of: HostArray, count: int) -> HostArray:
        """``of`` at each step's ``count`` predecessors, ``(steps, count)``, the nearest first; what is missing is 0."""
        padded = np.concatenate([np.zeros(count), of])
        shifted = [padded[count - j : count - j + self.steps] for j in range(1, count + 1)]
        return np.stack(shifted, axis=1) if shifted else np.zeros((self.steps, 0))

    def between(self, schedule: Schedule, part: float) -> NoiseLevel[HostArray]:
        r"""The levels at $\lambda_a + \mathrm{part} \cdot h$; ``b`` for a closed step."""
        half = np.where(self.finite, self.b.logsnr / 2, 0.0)
        middle = schedule.at(schedule.inverse_logsnr(2 * (half - (1 - part) * self.h)))
        return choose(self.finite, middle, self.b)


def steps_along(schedule: Schedule, times: HostArray) -> StepSequence:
    """The steps along ``times``.

    Raises:
        ValueError: as ``levels``.
    """
    level = levels(schedule, times)
    return StepSequence(a=take(level, slice(-1)), b=take(level, slice(1, None)), end=take(level, -1))


def take(level: NoiseLevel[HostArray], index: slice | int | Ints | Flags) -> NoiseLevel[HostArray]:
    """Some of an array of levels."""
    return each(lambda x: np.asarray(x[index]), level)


def choose(condition: Flags, yes: NoiseLevel[HostArray], no: NoiseLevel[HostArray]) -> NoiseLevel[HostArray]:
    """``yes`` where ``condition`` holds, else ``no``."""
    return each(lambda x, y: np.where(condition, x, y), yes, no)


def each(function: Callable[..., Any], *level: NoiseLevel[HostArray]) -> NoiseLevel[HostArray]:
    """``function`` over the three numbers of one level or several."""
    return NoiseLevel(
        t=function(*(x.t for x in level)),
        alpha=function(*(x.alpha for x in level)),
        sigma=function(*(x.sigma for x in level)),
    )


def check_order(order: int, most: int) -> None:
    """Raises a ValueError unless ``order`` lies in [1, most]."""
    check_whole("order", order, 1, most)
