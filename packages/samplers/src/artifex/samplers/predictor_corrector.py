r"""Predictor-corrector sampling: Langevin corrections between the steps of a table.

A correction moves towards higher density and adds noise at one level, and preserves the distribution of the level:

$$x' = x + \epsilon\, g + \sqrt{2 \epsilon}\, z,\qquad g = \nabla \log p(x) = \frac{\alpha \hat x_0 - x}{\sigma^2},\quad
  \epsilon = 2 \Big(r \frac{\lVert z \rVert}{\lVert g \rVert}\Big)^2$$

This size depends on the state, so the correction is not a row of a table. But where $g$ is about as long as
$z / \sigma$, which holds with more noise than data, $\epsilon = 2 r^2 \sigma^2$: the correction keeps the fraction
$q = 1 - 2 r^2$ of the noise, draws the rest again, and is a row.

References: Song et al. 2021, https://arxiv.org/abs/2011.13456
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from artifex.kernels import linear_step, sample_keys
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.ranges import check_number, check_positive, check_whole
from artifex.samplers.closure import closure_converted
from artifex.samplers.multistep import x0_rows
from artifex.samplers.sample import check_start, level_like
from artifex.samplers.steps import StepSequence, take
from artifex.samplers.tableau import Tableau, check_memoryless, in_dtype, tabulate
from artifex.schedules import Denoiser, NoiseLevel, expand, split_variance
from artifex.schedules.arrays import HostArray
from artifex.schedules.shapes import AnyKey, X


def predictor_corrector(
    denoise: Denoiser,
    tableau: Tableau[HostArray] | Tableau[Array],
    x: X,
    key: AnyKey,
    *,
    corrections: int = 1,
    snr: float = 0.16,
) -> X:
    """Run the table with corrections before each row at the row's level, of a size that depends on the state.

    Args:
        denoise: gives $x_0$ from ``x`` and its level; called ``1 + corrections`` times per row.
        tableau: of a method with one row per step and no memory, such as DDPM or DDIM.
        x: the start, ``(batch, ...)``, at the table's first level.
        key: one key, or one per sample.
        corrections: before each row, at least 0.
        snr: r, positive: the length of a correction along the score relative to that of its noise. The ratio is each
            sample's own and varies for samples of few numbers; see ``with_corrector``.

    Raises:
        ValueError: as ``sample``, for settings outside of their range, or for a method with a base state, older
            predictions or a learned variance.
    """
    check_start(tableau, x, key)
    _check(tableau, corrections, snr)
    denoise = closure_converted(denoise, x, level_like(tableau, x), beside=(tableau, key, snr))
    out: X = _walk(denoise, tableau, x, key, jnp.asarray(snr, jnp.float32), corrections)
    return out


def with_corrector(tableau: Tableau[HostArray], corrections: int = 1, snr: float = 0.16) -> Tableau[HostArray]:
    r"""Insert rows before each row of the table that renew a part of the noise at its level.

    $$x' = \alpha \hat x_0 + \sigma (q \hat\epsilon + \sqrt{1 - q^2}\, z),\qquad q = 1 - 2 r^2$$

    Args:
        tableau: of a method with one row per step and no memory, such as DDPM or DDIM.
        corrections: before each row, at least 0.
        snr: r, in (0, 1).

    Raises:
        ValueError: for settings outside of their range, or for a method with a base state, older predictions or a
            learned variance.
    """
    _check(tableau, corrections, snr)
    check_number("snr", snr, 0, 1, "()")
    kept = np.full(tableau.rows, 1 - 2 * snr**2)
    level = tableau.level
    rows, noise = x0_rows(StepSequence(a=level, b=level, end=tableau.end), noise_kept=kept)
    assert noise is not None
    index = np.repeat(np.arange(tableau.rows), corrections + 1)
    own = np.arange(len(index)) % (corrections + 1) == corrections
    return tabulate(
        take(level, index),
        tableau.end,
        np.where(own[:, None], tableau.evaluate[index, :3], rows[index]),
        np.where(own, tableau.noise[index], noise[index]),
    )


def _check(tableau: Tableau[HostArray] | Tableau[Array], corrections: int, snr: float) -> None:
    check_whole("corrections", corrections, 0)
    check_positive("snr", snr)
    check_memoryless(tableau, "be corrected")


@partial(jax.jit, static_argnames="corrections")
def _walk(
    denoise: Denoiser,
    tableau: Tableau[HostArray] | Tableau[Array],
    x: X,
    key: AnyKey,
    snr: Float[Array, ""],
    corrections: int,
) -> X:
    wide, batch = accumulation_dtype(x.dtype), x.shape[0]
    keys = sample_keys(key, batch)

    def draw(row: Int[Array, ""], call: Int[Array, ""] | int) -> Key[Array, " b"]:
        return jax.vmap(lambda k: jax.random.fold_in(jax.random.fold_in(k, row), call))(keys)

    def step(x: X, row: tuple[Int[Array, ""], NoiseLevel[Array], Array, Array]) -> tuple[X, None]:
        index, level, weights, noise = row
        level = jax.tree.map(lambda v: jnp.broadcast_to(v, (batch,)), level)

        def to_x0(x: X) -> X:
            return split_variance(denoise(x, level), x)[0]

        def correct(i: Int[Array, ""], x: X) -> X:
            return _langevin(x, to_x0(x), level, snr.astype(wide), draw(index, i + 1))

        x = jax.lax.fori_loop(0, corrections, correct, x)
        return linear_step([x, to_x0(x)], weights, noise_scale=noise, key=draw(index, 0)), None

    level = in_dtype(tableau.level, wide)
    weights = jnp.asarray(tableau.evaluate, wide)[:, jnp.array([0, 2])]
    out, _ = jax.lax.scan(step, x, (jnp.arange(tableau.rows), level, weights, jnp.asarray(tableau.noise, wide)))
    return out


def _langevin(x: X, x0: X, level: NoiseLevel[Array], snr: Float[Array, ""], keys: Key[Array, " b"]) -> X:
    """One correction, of a size that is each sample's own."""
    start = x.astype(snr.dtype)
    score = (expand(level.alpha, x) * x0.astype(snr.dtype) - start) / expand(level.sigma, x) ** 2
    noise = jax.vmap(lambda k: jax.random.normal(k, x.shape[1:], snr.dtype))(keys)
    axes = tuple(range(1, x.ndim))
    ratio = jnp.sum(noise**2, axis=axes) / jnp.maximum(jnp.sum(score**2, axis=axes), 1e-20)
    size = expand(2 * snr**2 * ratio, x)
    return (start + size * score + jnp.sqrt(2 * size) * noise).astype(x.dtype)
