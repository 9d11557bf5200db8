r"""Steps between levels, and the quantities that solvers are written in.

Symbols: a step goes from level ``a`` to level ``b``; $\rho = \sigma / \alpha$, $\lambda = \log(\alpha / \sigma)$,
$h = \lambda_b - \lambda_a > 0$. A step from pure noise ($\alpha_a = 0$) or to clean data ($\sigma_b = 0$) has an
infinite $h$ and is called closed; solvers in $\lambda$ take it at first order.
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
    """Steps between levels, noise first.

    Attributes:
        a: the start of each step, arrays of shape ``(steps,)``.
        b: the end of each step.
        end: the end of the last step, arrays of shape ``()``.
    """

    a: NoiseLevel[HostArray]
    b: NoiseLevel[HostArray]
    end: NoiseLevel[HostArray]

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.a.alpha)

    @property
    def finite(self) -> Flags:
        """Flags of the steps with a finite $h$; the others are closed."""
        return (self.a.alpha > 0) & (self.b.sigma > 0)

    @property
    def exp_neg_h(self) -> HostArray:
        r"""$e^{-h} = \rho_b / \rho_a$; 0 for a closed step."""
        return self.a.alpha * self.b.sigma / (self.b.alpha * self.a.sigma)

    @property
    def h(self) -> HostArray:
        """$h$; for a closed step an arbitrary 1, which no solver uses."""
        return -np.log(np.where(self.finite, self.exp_neg_h, np.exp(-1.0)))

    @property
    def lam(self) -> HostArray:
        r"""$\lambda_a$; $-\infty$ at pure noise."""
        return self.a.logsnr / 2

    @property
    def rho(self) -> HostArray:
        r"""$\rho_a$; at pure noise an arbitrary 1, which no solver uses."""
        return self.a.sigma / np.where(self.a.alpha > 0, self.a.alpha, self.a.sigma)

    @property
    def drift(self) -> HostArray:
        r"""$\alpha_b (\rho_b - \rho_a)$, the weight of a constant $\hat\epsilon$ over the step; 0 from pure noise."""
        has_signal = self.a.alpha > 0
        return np.where(has_signal, self.b.sigma - self.b.alpha * self.rho, 0.0)

    def orders(
        self, order: int, *, closes: bool = True, lower_order_final: bool | None = False, euler_at_final: bool = False
    ) -> Ints:
        """The order of each step of a multistep method: at most the number of predictions so far.

        Predictions at pure noise do not count, and a step from there is of first order. Any number of steps works:
        fewer than ``order`` are taken at lower order.

        Args:
            order: the order of the method.
            closes: whether a closed last step is of first order.
            lower_order_final: whether the last steps are lowered, the last to 1, the one before to 2; None: only with
                fewer than 15 steps.
            euler_at_final: whether only the last step is lowered to 1.
        """
        index = np.arange(len(self))
        out = np.minimum(order, np.maximum(index + 1 - np.count_nonzero(self.a.alpha == 0), 1))
        if closes:
            out = np.where(self.finite, out, 1)
        lowers = len(self) < SHORT if lower_order_final is None else lower_order_final
        lowered: Ints = np.minimum(out, len(self) - index) if lowers else out
        return np.where(index == len(self) - 1, 1, lowered) if euler_at_final else lowered

    def nodes(self, count: int) -> HostArray:
        r"""The older predictions' $\tau_j = (\lambda_{-j} - \lambda_a) / h$, ``(steps, count)``, the newest first."""
        lam = np.where(self.a.alpha > 0, self.lam, 0.0)
        out: HostArray = (self.older(lam, count) - lam[:, None]) / self.h[:, None]
        return out

    def older(self, values: HostArray, count: int) -> HostArray:
        """``values`` at the ``count`` steps before each, ``(steps, count)``, the nearest first; 0 if missing."""
        padded = np.concatenate([np.zeros(count), values])
        shifted = [padded[count - j : count - j + len(self)] for j in range(1, count + 1)]
        return np.stack(shifted, axis=1) if shifted else np.zeros((len(self), 0))

    def between(self, schedule: Schedule, fraction: float) -> NoiseLevel[HostArray]:
        r"""The levels at $\lambda_a + \mathrm{fraction} \cdot h$; ``b`` for a closed step."""
        lam = np.where(self.finite, self.b.logsnr / 2, 0.0)
        middle = schedule.at(schedule.inverse_logsnr(2 * (lam - (1 - fraction) * self.h)))
        return choose(self.finite, middle, self.b)


def steps_along(schedule: Schedule, times: HostArray) -> StepSequence:
    """Return the steps along ``times``.

    Raises:
        ValueError: as ``levels``.
    """
    level = levels(schedule, times)
    return StepSequence(a=take(level, slice(-1)), b=take(level, slice(1, None)), end=take(level, -1))


def take(level: NoiseLevel[HostArray], index: slice | int | Ints | Flags) -> NoiseLevel[HostArray]:
    """Index an array of levels."""
    return each(lambda x: np.asarray(x[index]), level)


def choose(condition: Flags, yes: NoiseLevel[HostArray], no: NoiseLevel[HostArray]) -> NoiseLevel[HostArray]:
    """``yes`` where ``condition`` is true, else ``no``."""
    return each(lambda x, y: np.where(condition, x, y), yes, no)


def each(function: Callable[..., Any], *level: NoiseLevel[HostArray]) -> NoiseLevel[HostArray]:
    """Apply ``function`` to each field of one or more levels."""
    return NoiseLevel(
        t=function(*(x.t for x in level)),
        alpha=function(*(x.alpha for x in level)),
        sigma=function(*(x.sigma for x in level)),
    )


def check_order(order: int, most: int) -> None:
    """Raise a ValueError unless ``order`` lies in [1, most]."""
    check_whole("order", order, 1, most)
