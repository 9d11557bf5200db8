r"""Tables defined by $\bar\alpha(u)$, the power of the signal over $u \in [0, 1]$."""

from collections.abc import Callable

import numpy as np

from artifex.kernels.ranges import check_number, check_positive, check_whole
from artifex.schedules.arrays.array_api import HostArray
from artifex.schedules.betas.explicit import logistic


def cosine(n: int, s: float = 0.008, max_beta: float = 0.999) -> HostArray:
    r"""$\beta_i = \min(1 - f(i+1)/f(i),\ \beta_\mathrm{max})$ with $f(i) = \cos^2\!\frac{i/n + s}{1 + s}\frac{\pi}{2}$.

    Args:
        n: number of steps, at least 1.
        s: offset that keeps the first betas from vanishing, at least 0.
        max_beta: the largest beta, in (0, 1].

    Raises:
        ValueError: for values outside those ranges.

    References: Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """
    check_number("s", s, 0)
    return from_alpha_bar(lambda u: np.cos((u + s) / (1 + s) * np.pi / 2) ** 2, n, max_beta)


def sigmoid_alpha_bar(
    n: int, start: float = -3.0, end: float = 3.0, tau: float = 1.0, max_beta: float = 0.999
) -> HostArray:
    r"""$\bar\alpha(u) = \frac{S(1) - S(u)}{S(1) - S(0)}$ with $S(u) = \mathrm{sigmoid}((a + u (b - a)) / \tau)$.

    Args:
        n: number of steps, at least 1.
        start: $a$, the argument of the sigmoid at $u = 0$.
        end: $b$, that at $u = 1$, above ``start``.
        tau: temperature, positive.
        max_beta: the largest beta, in (0, 1].

    Raises:
        ValueError: for values outside those ranges.

    References: Jabri et al. 2023, https://arxiv.org/abs/2212.11972; Chen 2023, https://arxiv.org/abs/2301.10972
    """
    check_number("start", start)
    check_number("end", end, start, ends="(]")
    check_positive("tau", tau)
    first, last = logistic(np.asarray([start / tau, end / tau]))

    def signal(u: HostArray) -> HostArray:
        out: HostArray = np.clip((last - logistic((start + u * (end - start)) / tau)) / (last - first), 0, 1)
        return out

    return from_alpha_bar(signal, n, max_beta)


def laplace(n: int, mu: float = 0.0, b: float = 0.5, max_beta: float = 0.999) -> HostArray:
    r"""The log-SNR follows a Laplace distribution: $\lambda(u) = \mu - b\, \mathrm{sgn}(½ - u) \log(1 - 2|u - ½|)$.

    $\bar\alpha(u) = \mathrm{sigmoid}(\lambda(u))$.

    Args:
        n: number of steps, at least 1.
        mu: the most frequent log-SNR.
        b: spread of the log-SNR, positive.
        max_beta: the largest beta, in (0, 1].

    Raises:
        ValueError: for values outside those ranges.

    References: Hang et al. 2024, https://arxiv.org/abs/2407.03297
    """
    check_number("mu", mu)
    check_positive("b", b)

    def signal(u: HostArray) -> HostArray:
        # sigmoid(lambda) with the exponential written out: u^b needs no logarithm of 0
        edge, odds = (2 * np.minimum(u, 1 - u)) ** b, np.exp(-mu)
        out: HostArray = np.where(u < 0.5, 1 / (1 + odds * edge), edge / (edge + odds))
        return out

    return from_alpha_bar(signal, n, max_beta)


def from_alpha_bar(signal: Callable[[HostArray], HostArray], n: int, max_beta: float = 0.999) -> HostArray:
    r"""$\beta_i = \min(1 - \bar\alpha((i+1)/n) / \bar\alpha(i/n),\ \beta_\mathrm{max})$.

    Args:
        signal: $\bar\alpha$ over [0, 1], elementwise, falling from near 1; it may be 0 only at the end.
        n: number of steps, at least 1.
        max_beta: the largest beta, in (0, 1]; with 1 the chain may end without signal.

    Raises:
        ValueError: for values outside those ranges.
    """
    check_whole("n", n, 1)
    check_number("max_beta", max_beta, 0, 1, "(]")
    table = signal(np.arange(n + 1) / n)
    if not (np.all(table[:-1] > 0) and np.all(np.diff(table) <= 0) and table[0] <= 1 and table[-1] >= 0):
        raise ValueError(f"signal must fall from at most 1 to at least 0, got values from {table[0]} to {table[-1]}")
    out: HostArray = np.minimum(1 - table[1:] / table[:-1], max_beta)
    return out
