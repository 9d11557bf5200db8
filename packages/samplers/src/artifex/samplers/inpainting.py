r"""Walks that begin at given data, or keep a part of it: image to image, inpainting, guidance by the step.

None needs a loop of its own. ``start_from`` adds noise to given data up to the first level. Where $x_0$ is known, a
denoiser that says so keeps the walk on the known data's path: every table carries a constant $x_0$ exactly, noise and
all. Going back to try again is a table with more rows.
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
    """The last part of a grid, for a walk that begins in the middle.

    Args:
        times: the grid, noise first.
        strength: how much of the walk is done, in (0, 1]; at least one step.

    Raises:
        ValueError: if ``strength`` lies outside of that range.
    """
    check_number("strength", strength, 0, 1, "(]")
    # 0.3 * 10 is a little more than 3
    return times[-ceil(round(strength * (len(times) - 1), 9)) - 1 :]


def start_from(tableau: Tableau[HostArray] | Tableau[Array], x0: X, key: AnyKey) -> X:
    r"""Where a walk from given data begins: $\alpha x_0 + \sigma z$ at the table's first level.

    Args:
        tableau: the walk.
        x0: the data, ``(batch, ...)``; zeros where nothing is known give pure noise, as in ``prior``.
        key: one key, or one a sample.
    """
    alpha, sigma = (jnp.asarray(v[0], jnp.float32) for v in (tableau.level.alpha, tableau.level.sigma))
    return linear_step([x0], alpha[None], noise_scale=sigma, key=key)


@record
class Inpainted:
    r"""Another denoiser that knows a part of the data: $m\, x_0^\mathrm{known} + (1 - m)\, \hat x_0$.

    Start from ``start_from(tableau, mask * known, key)``. Any sampler keeps the known part on its own noisy path, with
    the noise that it began with, or fresh noise where the sampler draws it, and ends on it.

    Attributes:
        denoiser: the one inside.
        known: the data, ``(batch, ...)`` or what broadcasts to it.
        mask: in [0, 1], likewise: 1 where the data are known, 0 where they are not. That is the opposite of the masks
            of diffusers' pipelines, which are 1 where a picture is painted anew. A bool mask will do.

    Raises:
        ValueError: if the mask is known to leave [0, 1], or ``known`` to hold a number that is not finite.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    denoiser: Denoiser
    known: Array
    mask: Array

    def __post_init__(self) -> None:
        check_number("mask", self.mask, 0, 1)
        check_number("known", self.known)

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """$x_0$, known where it is known."""
        mask, known = (jax.lax.broadcast_to_rank(v.astype(x_t.dtype), x_t.ndim) for v in (self.mask, self.known))
        known = mask * known
        return map_x0(lambda x0: known + (1 - mask) * x0, self.denoiser(x_t, level), x_t)


def repaint(tableau: Tableau[HostArray], jump: int = 10, repeats: int = 10) -> Tableau[HostArray]:
    r"""RePaint: every ``jump`` rows the walk goes back up by as many, and does them again.

    Going back is the forward process, $x_a = \frac{\alpha_a}{\alpha_b} x_b + \sqrt{\sigma_a^2 - (\alpha_a \sigma_b /
    \alpha_b)^2}\, z$, folded into the row before it. So known and new parts get time to agree.

    Args:
        tableau: of a method with one row a step, no memory and noise of its own, such as DDPM or DDIM.
        jump: rows from one turn to the next, at least 1; the first stretch takes what is left over.
        repeats: how often each stretch is walked, at least 1; 1 changes nothing.

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
    stretches = [np.arange(a, b) for a, b in zip(starts, [*starts[1:], rows], strict=True)]
    order = np.concatenate([np.tile(stretch, repeats) for stretch in stretches])
    alpha = np.append(tableau.level.alpha, tableau.end.alpha)
    sigma = np.append(tableau.level.sigma, tableau.end.sigma)
    following = np.append(order[1:], rows)
    ratio = alpha[following] / alpha[order + 1]  # 1 but where the walk goes back
    added = np.where(following <= order, sigma[following] ** 2 - (ratio * sigma[order + 1]) ** 2, 0.0)
    return tabulate(
        take(tableau.level, order),
        tableau.end,
        tableau.evaluate[order] * ratio[:, None],
        np.hypot(tableau.noise[order] * ratio, np.sqrt(added)),
    )
