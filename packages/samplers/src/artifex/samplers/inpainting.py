r"""Sampling from given data: image to image, inpainting, and RePaint.

All run in the common loop. ``start_from`` adds the noise of the first level to given data. For inpainting the denoiser
returns the known $x_0$: every table reproduces a constant $x_0$ exactly, so the known part stays on its own noisy path.
RePaint's resampling is a table with more rows.
"""

from math import ceil

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from artifex.kernels import linear_step
from artifex.kernels.ranges import check_number, check_whole
from artifex.samplers.steps import take
from artifex.samplers.tableau import Tableau, check_memoryless, tabulate
from artifex.schedules import Denoiser, NoiseLevel, map_x0
from artifex.schedules.arrays import HostArray, record
from artifex.schedules.shapes import AnyKey, Estimate, X


def truncate(times: HostArray, strength: float) -> HostArray:
    """The last part of a grid, to begin in the middle.

    Args:
        times: the grid, noise first.
        strength: the fraction of the steps that is kept, in (0, 1]; at least one step.

    Raises:
        ValueError: if ``strength`` lies outside of that range.
    """
    check_number("strength", strength, 0, 1, "(]")
    # 0.3 * 10 exceeds 3 by rounding
    return times[-ceil(round(strength * (len(times) - 1), 9)) - 1 :]


def start_from(tableau: Tableau[HostArray] | Tableau[Array], x0: X, key: AnyKey) -> X:
    r"""Add noise to given data up to the table's first level: $\alpha x_0 + \sigma z$.

    Args:
        tableau: the sampler's table.
        x0: the data, ``(batch, ...)``; zeros give pure noise, as in ``prior``.
        key: one key, or one per sample.
    """
    alpha, sigma = (jnp.asarray(v[0], jnp.float32) for v in (tableau.level.alpha, tableau.level.sigma))
    return linear_step([x0], alpha[None], noise_scale=sigma, key=key)


@record
class Inpainted:
    r"""A denoiser with a part of the data given: $m\, x_0^\mathrm{known} + (1 - m)\, \hat x_0$.

    Start from ``start_from(tableau, mask * known, key)``. Any sampler keeps the known part on its own noisy path, with
    the initial noise or the sampler's fresh noise, and ends on the known data.

    Attributes:
        denoiser: the wrapped denoiser.
        known: the data, ``(batch, ...)`` or what broadcasts to it.
        mask: in [0, 1] or bool, likewise: 1 where the data are known, 0 where they are not. The masks of diffusers'
            pipelines are the opposite: 1 where the image is repainted.

    Raises:
        ValueError: if a concrete mask leaves [0, 1], or a concrete ``known`` holds a number that is not finite.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    denoiser: Denoiser
    known: Array
    mask: Array

    def __post_init__(self) -> None:
        check_number("mask", self.mask, 0, 1)
        check_number("known", self.known)

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """$x_0$ with the known part replaced."""
        mask, known = (jax.lax.broadcast_to_rank(v.astype(x_t.dtype), x_t.ndim) for v in (self.mask, self.known))
        known = mask * known
        return map_x0(lambda x0: known + (1 - mask) * x0, self.denoiser(x_t, level), x_t)


def repaint(tableau: Tableau[HostArray], jump: int = 10, repeats: int = 10) -> Tableau[HostArray]:
    r"""RePaint: every ``jump`` rows, go back by as many and repeat them.

    Going back is the forward process, $x_a = \frac{\alpha_a}{\alpha_b} x_b + \sqrt{\sigma_a^2 - (\alpha_a \sigma_b /
    \alpha_b)^2}\, z$, folded into the row before it. The repeats harmonize known and generated parts.

    Args:
        tableau: of a method with one row per step, no memory and noise of its own, such as DDPM or DDIM.
        jump: rows per segment, at least 1; the first segment takes the remainder.
        repeats: number of times that each segment is run, at least 1; 1 changes nothing.

    Raises:
        ValueError: if ``jump`` or ``repeats`` is less than 1, or the method keeps a base state or older predictions, or
            leaves its noise to the network.

    References: Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865
    """
    check_whole("jump", jump, 1)
    check_whole("repeats", repeats, 1)
    check_memoryless(tableau, "go back")
    rows = tableau.rows
    starts = [0, *range(rows - (rows - 1) // jump * jump, rows, jump)]
    segments = [np.arange(a, b) for a, b in zip(starts, [*starts[1:], rows], strict=True)]
    order = np.concatenate([np.tile(segment, repeats) for segment in segments])
    alpha = np.append(tableau.level.alpha, tableau.end.alpha)
    sigma = np.append(tableau.level.sigma, tableau.end.sigma)
    following = np.append(order[1:], rows)
    ratio = alpha[following] / alpha[order + 1]  # 1 except where it goes back
    added = np.where(following <= order, sigma[following] ** 2 - (ratio * sigma[order + 1]) ** 2, 0.0)
    return tabulate(
        take(tableau.level, order),
        tableau.end,
        tableau.evaluate[order] * ratio[:, None],
        np.hypot(tableau.noise[order] * ratio, np.sqrt(added)),
    )
