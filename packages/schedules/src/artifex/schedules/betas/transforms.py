r"""Tables derived from other tables."""

import numpy as np

from artifex.kernels.ranges import check_number, check_positive
from artifex.schedules.arrays.array_api import HostArray


def from_alphas_cumprod(alphas_cumprod: HostArray) -> HostArray:
    r"""$\beta_i = 1 - \bar\alpha_i / \bar\alpha_{i-1}$ with $\bar\alpha_{-1} = 1$.

    Args:
        alphas_cumprod: $\bar\alpha$, ``(n,)``, falling within [0, 1]; it may be 0 only at the end.

    Raises:
        ValueError: for a table of another shape, or one that does not fall.
    """
    table = np.asarray(alphas_cumprod, np.float64)
    if table.ndim != 1 or table.size == 0:
        raise ValueError(f"alphas_cumprod must be of shape (n,) with n at least 1, got {table.shape}")
    whole = np.append(1.0, table)
    if not (np.all(np.diff(whole) <= 0) and np.all(whole[:-1] > 0) and whole[-1] >= 0):
        raise ValueError(f"alphas_cumprod must fall within [0, 1], got values from {table[0]} to {table[-1]}")
    out: HostArray = 1 - whole[1:] / whole[:-1]
    return out


def rescale_zero_terminal_snr(betas: HostArray) -> HostArray:
    r"""Shift and scale $\sqrt{\bar\alpha}$ so that its first value stays and its last becomes 0.

    $$\sqrt{\bar\alpha_i'} = \big(\sqrt{\bar\alpha_i} - \sqrt{\bar\alpha_{n-1}}\big)
      \frac{\sqrt{\bar\alpha_0}}{\sqrt{\bar\alpha_0} - \sqrt{\bar\alpha_{n-1}}}$$

    Args:
        betas: a table of at least 2 steps.

    Raises:
        ValueError: for a shorter table.

    References: Lin et al. 2024, https://arxiv.org/abs/2305.08891
    """
    root = np.sqrt(_alphas_cumprod(betas))
    if root.size < 2:
        raise ValueError(f"betas must be of shape (n,) with n at least 2, got {root.shape}")
    return from_alphas_cumprod(((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2)


def shifted(betas: HostArray, factor: float) -> HostArray:
    r"""The table of the chain whose $\sigma / \alpha$ is ``factor`` times as large at every step.

    An image with sides ``factor`` times as long, averaged down to the resolution of the table, then has the table's
    log-SNR.

    Args:
        betas: a table.
        factor: positive; above 1 for larger images.

    Raises:
        ValueError: if ``factor`` is not positive.

    References: Hoogeboom et al. 2023, https://arxiv.org/abs/2301.11093
    """
    check_positive("factor", factor)
    alpha_bar = _alphas_cumprod(betas)
    return from_alphas_cumprod(alpha_bar / (alpha_bar + factor**2 * (1 - alpha_bar)))


def _alphas_cumprod(betas: HostArray) -> HostArray:
    table = np.asarray(betas, np.float64)
    if table.ndim != 1 or table.size == 0:
        raise ValueError(f"betas must be of shape (n,) with n at least 1, got {table.shape}")
    check_number("betas", table, 0, 1)
    out: HostArray = np.cumprod(1 - table, dtype=np.float64)
    return out
