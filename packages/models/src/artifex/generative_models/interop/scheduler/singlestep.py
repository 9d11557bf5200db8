r"""Singlestep DPM-Solver with its inner calls on the grid, as in ``DPMSolverSinglestepScheduler``."""

from dataclasses import dataclass

import numpy as np

from artifex.samplers import Tableau
from artifex.samplers.authoring import difference_weights, moments, tabulate
from artifex.samplers.multistep import SolverType
from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class SinglestepOnGrid:
    r"""Steps of up to ``order`` calls of the network, each call at the next time of the grid.

    Call j of a step goes from the start ``s`` of the step to the time after its own, ``t``, with the polynomial in
    $\lambda$ through the j predictions of $x_0$ (or $\epsilon$) so far: with $h = \lambda_t - \lambda_s$,

    $$x_t = \frac{\sigma_t}{\sigma_s} x_s + \alpha_t h \int_0^1 e^{-(1-\tau) h}\, \hat x_0(\lambda_s + \tau h)\, d\tau$$

    There are ``steps // order`` steps; with ``lower_order_final``, or if ``order`` does not divide the number of calls,
    those at the end are shorter.

    Attributes:
        order: 1, 2 or 3.
        predict_x0: whether polynomials interpolate $x_0$, else $\epsilon$.
        eta: 1 for the stochastic form, which predicts $x_0$ only; 0 for none.
        solver_type: weight of the polynomial's terms of first and higher order: ``"heun"`` integrates all of them;
            ``"midpoint"`` takes half of the constant's weight in calls of second order, and in calls of third order a
            straight line through the first and last prediction.
        lower_order_final: whether the last steps are shorter.

    References: lu et al. 2022, https://arxiv.org/abs/2206.00927; https://arxiv.org/abs/2211.01095
    """

    order: int = 2
    predict_x0: bool = True
    eta: float = 0.0
    solver_type: SolverType = "midpoint"
    lower_order_final: bool = True

    def call_indices(self, calls: int, clean: bool) -> list[int]:
        """The index of each call in its step, from 1; a last call that ends at clean data is a step of its own."""
        full = list(range(1, self.order + 1))
        count, rest = divmod(calls, self.order)
        if self.order > 1 and rest == 0 and (self.lower_order_final or clean):
            indices = full * (count - 1) + [*full[: self.order - 1], 1]
        else:
            indices = full * count + full[:rest]
        return [*indices[:-1], 1] if clean else indices

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per call."""
        level = schedule.at(np.asarray(times, np.float64))
        alpha, sigma, half = level.alpha, level.sigma, level.logsnr / 2
        calls = len(times) - 1
        evaluate, base = np.zeros((calls, 5)), np.zeros((calls, 5))
        noise, keep = np.zeros(calls), np.tile([0.0, 1.0], (calls, 1))
        if not self.predict_x0:
            keep = np.column_stack([1 / sigma[:-1], -alpha[:-1] / sigma[:-1]])
        for i, j in enumerate(self.call_indices(calls, bool(sigma[-1] == 0))):
            s = i + 1 - j
            base[i, 0 if j == 1 else 1] = 1
            if sigma[i + 1] == 0:  # one call: its own x0
                evaluate[i, 2] = alpha[i + 1]
                continue
            h = half[i + 1] - half[s]
            ride, newest, older = self._weights(half[s : i + 1] - half[s], h)
            if not self.predict_x0:
                ride, scale = alpha[i + 1] / alpha[s], sigma[i + 1]
            else:
                ride, scale = ride * sigma[i + 1] / sigma[s], alpha[i + 1]
            evaluate[i, 1] = ride
            evaluate[i, [0, 2]] += scale * newest * keep[i]
            evaluate[i, 3 : 3 + len(older)] = scale * older
            noise[i] = self.eta * sigma[i + 1] * np.sqrt(-np.expm1(-2 * h))
        start = schedule.at(np.asarray(times[:-1], np.float64))
        return tabulate(start, schedule.at(np.asarray(times[-1])), evaluate, noise, base, keep=keep)

    def _weights(self, offsets: HostArray, h: float) -> tuple[float, float, HostArray]:
        r"""The factor of $\sigma_t / \sigma_s$, and the weights of the newest and, in reverse, the older predictions.

        Args:
            offsets: $\lambda - \lambda_s$ of the predictions, the first of them 0.
            h: step size.
        """
        k = np.array([-h if not self.predict_x0 else (1 + self.eta) * h])
        whole, order = float(-np.expm1(-k)[0]), len(offsets)
        # of the step's first prediction, then of the differences of the others to it
        later = np.zeros(order - 1)
        if h > 0 and order > 1:
            nodes, integrals = offsets[None, 1:] / h, moments(k, order - 1)
            if self.solver_type == "heun":
                later = difference_weights(nodes, integrals, np.array([order]))[0]
            else:
                later[-1] = (whole / 2 if order == 2 else integrals[0, 0]) / nodes[0, -1]
        every = np.append(whole - later.sum(), later)
        return float(np.exp(-self.eta * h)), float(every[-1]), every[-2::-1]
