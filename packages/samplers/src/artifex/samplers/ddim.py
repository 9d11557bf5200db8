r"""DDIM, from deterministic (``eta = 0``) to ancestral as DDPM (``eta = 1``)."""

from dataclasses import dataclass

import numpy as np

from artifex.kernels.ranges import check_number
from artifex.samplers.steps import steps_along
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import NoiseLevel, Schedule
from artifex.schedules.arrays import HostArray, T, array_namespace


def ddim_weights(t: NoiseLevel[T], s: NoiseLevel[T], eta: float | T) -> tuple[T, T, T]:
    r"""Coefficients of $x_t$, $\hat x_0$ and fresh noise in the step from ``t`` to ``s``; see ``DDIM``.

    Raises:
        ValueError: if a concrete ``eta`` lies outside of [0, 1].
    """
    check_number("eta", eta, 0, 1)
    xp = array_namespace(t.alpha)
    tau = 1 - (t.alpha * s.sigma / (s.alpha * t.sigma)) ** 2
    keep = s.sigma * xp.sqrt(1 - eta**2 * tau) / t.sigma
    return keep, s.alpha - keep * t.alpha, eta * s.sigma * xp.sqrt(xp.maximum(tau, 0.0))


@dataclass(frozen=True)
class DDIM:
    r"""Keep the predicted noise, or with ``eta`` replace a part of it by fresh noise.

    $$x_s = \alpha_s \hat x_0 + \sigma_s\big(\sqrt{1 - \eta^2 \tau}\,\hat\epsilon + \eta \sqrt{\tau}\, z\big),\quad
      \tau = 1 - \Big(\frac{\alpha_t \sigma_s}{\alpha_s \sigma_t}\Big)^2,\quad
      \hat\epsilon = \frac{x_t - \alpha_t \hat x_0}{\sigma_t}$$

    On the discrete chain ``eta = 1`` is DDPM with the small variance, on the sub-sequence of times that is used.

    Attributes:
        eta: scales the standard deviation of the fresh noise, in [0, 1].

    Raises:
        ValueError: if ``eta`` lies outside of [0, 1].

    References: Song et al. 2021, https://arxiv.org/abs/2010.02502
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        check_number("eta", self.eta, 0, 1)

    def tableau(self, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
        """One row per step, over ``x_e`` and the newest $x_0$."""
        steps = steps_along(schedule, times)
        keep, clean, noise = ddim_weights(steps.a, steps.b, self.eta)
        return tabulate(steps.a, steps.end, np.stack([keep, np.zeros_like(keep), clean], axis=1), noise)
