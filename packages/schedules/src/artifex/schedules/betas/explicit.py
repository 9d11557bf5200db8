"""Tables defined by the betas themselves."""

import numpy as np

from artifex.kernels.ranges import check_positive, check_whole
from artifex.schedules.arrays.array_api import HostArray


def linear(n: int, start: float = 1e-4, end: float = 0.02) -> HostArray:
    r"""$\beta_i = \beta_0 + (\beta_{n-1} - \beta_0)\, i / (n-1)$.

    Args:
        n: number of steps, at least 1.
        start: the first beta, in (0, 1).
        end: the last beta, in (0, 1), at least ``start``.

    Raises:
        ValueError: for values outside those ranges.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """
    _check_ends(n, start, end)
    return np.linspace(start, end, n)


def scaled_linear(n: int, start: float = 0.00085, end: float = 0.012) -> HostArray:
    r"""$\sqrt{\beta_i} = \sqrt{\beta_0} + (\sqrt{\beta_{n-1}} - \sqrt{\beta_0})\, i / (n-1)$.

    Args:
        n: number of steps, at least 1.
        start: the first beta, in (0, 1).
        end: the last beta, in (0, 1), at least ``start``.

    Raises:
        ValueError: for values outside those ranges.

    References: Rombach et al. 2022, https://arxiv.org/abs/2112.10752
    """
    _check_ends(n, start, end)
    out: HostArray = np.linspace(start**0.5, end**0.5, n) ** 2
    return out


def sigmoid(n: int, start: float = 1e-4, end: float = 0.02, width: float = 6.0) -> HostArray:
    r"""$\beta_i = \beta_0 + (\beta_{n-1} - \beta_0)\, \mathrm{sigmoid}(w (2i/(n-1) - 1))$, $w$ the ``width``.

    The ends are approached, not reached: sigmoid(-6) is 0.0025. ``sigmoid_alpha_bar`` is the schedule of another paper.

    Args:
        n: number of steps, at least 1.
        start: the limit of beta on the left, in (0, 1).
        end: that on the right, in (0, 1), at least ``start``.
        width: the sigmoid is sampled over [-width, width]; positive.

    Raises:
        ValueError: for values outside those ranges.

    References: Xu et al. 2022, https://arxiv.org/abs/2203.02923
    """
    _check_ends(n, start, end)
    check_positive("width", width)
    out: HostArray = start + (end - start) * logistic(np.linspace(-width, width, n))
    return out


def geometric(n: int, start: float = 1e-4, end: float = 0.02) -> HostArray:
    r"""$\beta_i = \beta_0\, (\beta_{n-1} / \beta_0)^{i / (n-1)}$: the logarithm of beta rises linearly.

    Args:
        n: number of steps, at least 1.
        start: the first beta, in (0, 1).
        end: the last beta, in (0, 1), at least ``start``.

    Raises:
        ValueError: for values outside those ranges.
    """
    _check_ends(n, start, end)
    return np.geomspace(start, end, n)


def exponential(n: int, rate: float = 12.0) -> HostArray:
    r"""$\bar\alpha(u) = e^{-r u}$, so every $\beta_i = 1 - e^{-r/n}$.

    Args:
        n: number of steps, at least 1.
        rate: $r$, positive; the chain ends at log-SNR near $-r$.

    Raises:
        ValueError: for values outside those ranges.

    References: Sohl-Dickstein et al. 2015, https://arxiv.org/abs/1503.03585 (diffusion at a constant rate)
    """
    check_whole("n", n, 1)
    check_positive("rate", rate)
    return np.full(n, -np.expm1(-rate / n))


def _check_ends(n: int, start: float, end: float) -> None:
    check_whole("n", n, 1)
    if not 0 < start <= end < 1:
        raise ValueError(f"betas must satisfy 0 < start <= end < 1, got start = {start} and end = {end}")


def logistic(x: HostArray) -> HostArray:
    """The sigmoid function, $1 / (1 + e^{-x})$."""
    out: HostArray = 1 / (1 + np.exp(-x))
    return out
