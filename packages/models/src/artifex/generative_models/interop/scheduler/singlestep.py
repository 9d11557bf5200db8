r"""DPM-Solver in singlestep form with its inner calls on the grid, as ``DPMSolverSinglestepScheduler`` has it."""

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

    Call j of a step goes from the step's beginning ``s`` to the time after its own, ``t``, with the polynomial in
    $\lambda$ through the j predictions of $x_0$ (or $\epsilon$) so far: with $h = \lambda_t - \lambda_s$,

    $$x_t = \frac{\sigma_t}{\sigma_s} x_s + \alpha_t h \int_0^1 e^{-(1-\tau) h}\, \hat x_0(\lambda_s + \tau h)\, d\tau$$

    ``steps // order`` such steps; with ``lower_order_final``, or where ``order`` does not divide the number of
    calls, those at the end are shorter.

    Attributes:
        order: 1, 2 or 3.
        predict_x0: whether polynomials go through $x_0$, else through $\epsilon$.
        eta: 1 for the stochastic form, which predicts $x_0$ only; 0 for none.
        solver_type: weight of a polynomial's first term: ``"midpoint"`` takes half a constant's in calls of second
            order, and in those of third a straight line through the first and last prediction; ``"heun"`` the integral
            of all terms.
        lower_order_final: whether the last steps are shorter.

    References: Lu et al. 2022, https://arxiv.org/abs/2206.00927; https://arxiv.org/abs/2211.01095
    """

    order: int = 2
    predict_x0: bool = True
    eta: float = 0.0
    solver_type: SolverType = "midpoint"
    lower_order_final: bool = True

    def places(self, calls: int, clean: bool) -> list[int]:
        """The place of each call in its step, from 1; the last call of a walk that ends clean is a step of its own."""
        full = list(range(1, self.order + 1))
        count, rest = divmod(calls, self.order)
        if self.order > 1 and rest == 0 and (self.lower_order_final or clean):
            places = full * (count - 1) + [*full[: self.order - 1], 1]
        else:
            places = full * count + full[:rest]
        return [*places[:-1], 1] if clean else places

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row a call."""
        level = schedule.at(np.asarray(times, np.float64))
        alpha, sigma, half = level.alpha, level.sigma, level.logsnr / 2
        calls = len(times) - 1
        evaluate, base = np.zeros((calls, 5)), np.zeros((calls, 5))
        noise, keep = np.zeros(calls), np.tile([0.0, 1.0], (calls, 1))
        if not self.predict_x0:
            keep = np.column_stack([1 / sigma[:-1], -alpha[:-1] / sigma[:-1]])
        for i, place in enumerate(self.places(calls, bool(sigma[-1] == 0))):
            s = i + 1 - place
            base[i, 0 if place == 1 else 1] = 1
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

    def _weights(self, places: HostArray, h: float) -> tuple[float, float, HostArray]:
        r"""The factor of $\sigma_t / \sigma_s$, and the weights of the newest and of the older predictions.

        Args:
            places: $\lambda - \lambda_s$ of the predictions, the first of them 0.
            h: Of the step. Older ones come newest first.
        """
        k = np.array([-h if not self.predict_x0 else (1 + self.eta) * h])
        whole, order = float(-np.expm1(-k)[0]), len(places)
        # of the step's first prediction, then of the differences of the others to it
        later = np.zeros(order - 1)
        if h > 0 and order > 1:
            nodes, integrals = places[None, 1:] / h, moments(k, order - 1)
            if self.solver_type == "heun":
                later = difference_weights(nodes, integrals, np.array([order]))[0]
            else:
                later[-1] = (whole / 2 if order == 2 else integrals[0, 0]) / nodes[0, -1]
        every = np.append(whole - later.sum(), later)
        return float(np.exp(-self.eta * h)), float(every[-1]), every[-2::-1]
