r"""Post-hoc EMA: an average of any width, reconstructed after training from stored ones.

A power-function average weights the parameters' trajectory by a profile
$p_{\gamma,t}(\tau) = (\gamma + 1)\, \tau^\gamma / t^{\gamma + 1}$ on $[0, t]$. The weights $x$ of stored averages
$(\gamma_i, t_i)$ that are the least-squares approximation of a profile $p$ solve

$$A x = b,\qquad A_{ij} = \langle p_i, p_j \rangle,\quad b_i = \langle p_i, p \rangle$$

$$\langle p_{\gamma,t}, p_{\eta,s} \rangle = \frac{(\gamma + 1)(\eta + 1)}{\gamma + \eta + 1}\,
  \Big(\frac mt\Big)^{\gamma + 1} \Big(\frac ms\Big)^{\eta + 1} \frac1m,\qquad m = \min(t, s)$$

References: Karras et al. 2024, https://arxiv.org/abs/2312.02696
"""

import numpy as np
from jaxtyping import Float64


def inner_products(
    gammas: Float64[np.ndarray, " n"],
    times: Float64[np.ndarray, " n"],
    other_gammas: Float64[np.ndarray, " m"],
    other_times: Float64[np.ndarray, " m"],
) -> Float64[np.ndarray, "n m"]:
    r"""Compute $\langle p_i, p_j \rangle$ of profiles ``(gammas, times)`` and others."""
    g, t, h, s = gammas[:, None], times[:, None], other_gammas[None], other_times[None]
    m = np.minimum(t, s)
    out: Float64[np.ndarray, "n m"] = (g + 1) * (h + 1) / (g + h + 1) * (m / t) ** (g + 1) * (m / s) ** (h + 1) / m
    return out


def reconstruction(
    gammas: Float64[np.ndarray, " n"], times: Float64[np.ndarray, " n"], gamma: float, time: float
) -> tuple[Float64[np.ndarray, " n"], float]:
    r"""Compute the weights of stored averages that approximate exponent ``gamma`` at ``time``, in float64.

    Args:
        gammas: exponents of the stored averages, at least 0.
        times: of the stored averages, in updates, at least 1.
        gamma: the target exponent, at least 0.
        time: of the target, from 1 to the last of ``times``.

    Returns:
        The weights $x$, and the relative error $\lVert \sum_i x_i p_i - p \rVert / \lVert p \rVert$ in [0, 1]: 0 for a
        stored width, near 1 for one that these averages do not determine.

    Raises:
        ValueError: if there are none, or values are out of range.
    """
    if len(times) == 0 or times.min() < 1 or not 1 <= time <= times.max() or gammas.min() < 0 or not gamma >= 0:
        raise ValueError(
            "averages must be at least one, with exponents of at least 0, and time from 1 to the last of theirs, "
            f"got exponents {gammas} at {times}, and {gamma} at {time}"
        )
    gram = inner_products(gammas, times, gammas, times)
    goal = np.array([gamma], np.float64), np.array([time], np.float64)
    products = inner_products(gammas, times, *goal)[:, 0]
    norm = float(inner_products(*goal, *goal)[0, 0])
    # Normalize the profiles: the norms of late ones are thousands of times those of early ones.
    length = np.sqrt(np.diag(gram))
    x = np.linalg.lstsq(gram / np.outer(length, length), products / length, rcond=None)[0] / length
    error = norm - 2 * x @ products + x @ gram @ x
    return x, float(np.sqrt(max(0.0, error) / norm))
