r"""Rows of a table, each a DDIM step plus the terms of a method.

With $D$ the newest prediction of $x_0$ and $\hat\epsilon = (x - \alpha_a D) / \sigma_a$, DDIM goes from ``a`` to
``b`` by

$$x_b = \alpha_b D + \sigma_b \hat\epsilon$$

Solvers of higher order add differences of predictions, of data or of noise: $\sum_j c_j (D_j - D)$ or
$\sum_j c_j (\hat\epsilon_j - \hat\epsilon)$. Differences vanish for a constant $x_0$, so every such row maps it to
$\alpha_b x_0$ exactly. Stochastic solvers keep a fraction $q$ of the old noise,
$\sigma_b (q \hat\epsilon + \sqrt{1-q^2} z)$, which has the right marginal for any $q$.
"""

from collections.abc import Sequence
from math import factorial
from typing import Literal, get_args

import numpy as np

from artifex.kernels.ranges import check_whole
from artifex.samplers.steps import Ints, StepSequence
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import NoiseLevel
from artifex.schedules.arrays import HostArray

SolverType = Literal["midpoint", "heun"]
"""The weight of the slope at second order: half that of a constant (midpoint), or the integral (heun)."""


def phi(k: int, z: HostArray) -> HostArray:
    r"""$\varphi_k(z) = \int_0^1 e^{(1-\tau) z}\, \tau^{k-1} / (k-1)!\; d\tau$ for ``k`` at least 1, to full precision.

    Raises:
        ValueError: if ``k`` is less than 1.

    References: Hochbruck and Ostermann 2010, https://doi.org/10.1017/S0962492910000048
    """
    check_whole("k", k, 1)
    small = np.abs(z) < 1
    near = np.where(small, z, 0.0)
    series = sum((near**n / factorial(n + k) for n in range(20)), np.zeros_like(z))
    far = np.where(small, 1.0, z)
    value = np.exp(far)
    for j in range(k):
        value = (value - 1 / factorial(j)) / far
    return np.where(small, series, value)


def moments(h: HostArray, most: int) -> HostArray:
    r"""$h \int_0^1 e^{-(1-\tau) h} \tau^m d\tau$ for $m = 1 \dots$ ``most``, ``(steps, most)``.

    With $h$, times $\alpha_b$, these are the weights of $x_0$ over a step; with $-h$, times $\sigma_b$, those of
    $\epsilon$.

    Raises:
        ValueError: if ``most`` is negative.
    """
    check_whole("most", most, 0)
    return columns([h * factorial(m) * phi(m + 1, -h) for m in range(1, most + 1)], len(h))


def solver_moments(h: HostArray, orders: Ints, most: int, solver_type: SolverType, diffusers_compat: bool) -> HostArray:
    """``moments`` with the variations of ``solver_type`` at order 2 and of ``diffusers_compat`` at order 3."""
    integrals = moments(h, most)
    if solver_type == "midpoint":
        integrals[orders == 2, :1] = (-np.expm1(-h) / 2)[orders == 2, None]
    if diffusers_compat:
        integrals[:, 1:] /= 2
    return integrals


def check_solver_type(solver_type: str) -> None:
    """Raise a ValueError unless ``solver_type`` is a ``SolverType``."""
    if solver_type not in get_args(SolverType):
        raise ValueError(f"solver_type must be 'midpoint' or 'heun', got {solver_type!r}")


def columns(arrays: Sequence[HostArray], rows: int) -> HostArray:
    """Stack arrays of shape ``(rows,)`` as columns; none give ``(rows, 0)``."""
    return np.stack(arrays, axis=1) if arrays else np.zeros((rows, 0))


def unit_quadrature() -> tuple[HostArray, HostArray]:
    """The points and weights of Gauss-Legendre quadrature on [0, 1], 32 of each."""
    points, weights = np.polynomial.legendre.leggauss(32)
    return (1 + points) / 2, weights / 2


def difference_weights(nodes: HostArray, moments: HostArray, orders: Ints) -> HostArray:
    r"""The weights $c_j$ of differences to older predictions, exact for polynomials.

    $\sum_j c_j \tau_j^m = M_m$ for $m = 1 \dots \mathrm{order} - 1$.

    Args:
        nodes: $\tau_j$ of the older predictions, in steps from the newest, ``(steps, count)``.
        moments: $M_m$, the integrals of $\tau^m$ over the step, ``(steps, count)``.
        orders: the order of each step, in [1, count + 1]; weights beyond it are 0.
    """
    power = np.arange(1, nodes.shape[1] + 1)
    active = power < orders[:, None]
    system = np.where(active, nodes, 0.0)[:, None, :] ** power[:, None]
    system = np.where(active[:, :, None] & active[:, None, :], system, np.eye(len(power)))
    weights: HostArray = np.linalg.solve(system, np.where(active, moments, 0.0)[..., None])[..., 0]
    return weights


def x0_rows(
    steps: StepSequence, older: HostArray | None = None, noise_kept: HostArray | None = None
) -> tuple[HostArray, HostArray | None]:
    r"""Weights and noise of $\alpha_b D + \sum_j c_j (D_j - D) + \sigma_b (q \hat\epsilon + \sqrt{1-q^2} z)$.

    Args:
        steps: the steps.
        older: $c_j$ for the older predictions, ``(steps, count)``.
        noise_kept: $q$ in [0, 1], ``(steps,)``; None keeps all the noise and draws none.
    """
    older = np.zeros((len(steps), 0)) if older is None else older
    keep = steps.b.sigma / steps.a.sigma * (1.0 if noise_kept is None else noise_kept)
    x0 = steps.b.alpha - keep * steps.a.alpha - older.sum(axis=1)
    noise = None if noise_kept is None else steps.b.sigma * np.sqrt((1 - noise_kept) * (1 + noise_kept))
    return np.column_stack([keep, np.zeros(len(steps)), x0, older]), noise


def eps_rows(steps: StepSequence, older: HostArray, extra_eps: HostArray | float = 0.0) -> tuple[HostArray, HostArray]:
    r"""Weights of $\alpha_b D + (\sigma_b + m) \hat\epsilon + \sum_j c_j (\hat\epsilon_j - \hat\epsilon)$.

    Args:
        steps: the steps.
        older: $c_j$ for the older predictions, ``(steps, count)``.
        extra_eps: $m$, ``(steps,)``.

    Returns:
        The ``evaluate`` and the ``keep`` of a table whose history holds $\hat\epsilon$.
    """
    keep = (steps.b.sigma + extra_eps - older.sum(axis=1)) / steps.a.sigma
    rows = np.column_stack([keep, np.zeros(len(steps)), steps.b.alpha - keep * steps.a.alpha, older])
    return rows, eps_weights(steps.a)


def eps_weights(level: NoiseLevel[HostArray]) -> HostArray:
    r"""$\hat\epsilon$ over $[x, D]$, ``(steps, 2)``."""
    return np.stack([1 / level.sigma, -level.alpha / level.sigma], axis=-1)


def multistep(
    steps: StepSequence, older: HostArray | None = None, noise_kept: HostArray | None = None
) -> Tableau[HostArray]:
    """The table of a method with polynomials through $x_0$; see ``x0_rows``."""
    evaluate, noise = x0_rows(steps, older, noise_kept)
    return tabulate(steps.a, steps.end, evaluate, noise)


def multistep_eps(
    steps: StepSequence, older: HostArray, extra_eps: HostArray | float = 0.0, noise: HostArray | None = None
) -> Tableau[HostArray]:
    r"""The table of a method with polynomials through $\epsilon$ and fresh ``noise``; see ``eps_rows``."""
    evaluate, keep = eps_rows(steps, older, extra_eps)
    return tabulate(steps.a, steps.end, evaluate, noise, keep=keep)


def adams_bashforth(
    steps: StepSequence,
    order: int,
    variable: HostArray,
    width: HostArray,
    integrals: HostArray,
    lower_order_final: bool | None = False,
) -> Tableau[HostArray]:
    """The Adams-Bashforth method with polynomials in ``variable``, which changes by ``width`` over each step."""
    nodes = (steps.older(variable, order - 1) - variable[:, None]) / width[:, None]
    weights = difference_weights(
        nodes, integrals, steps.orders(order, closes=False, lower_order_final=lower_order_final)
    )
    return multistep_eps(steps, steps.drift[:, None] * weights)
