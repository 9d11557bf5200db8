r"""Predictor and corrector: a table's steps, and Langevin's between them.

A correction moves at one level towards higher density and adds noise, and leaves the level's law as it is:

$$x' = x + \epsilon\, g + \sqrt{2 \epsilon}\, z,\qquad g = \nabla \log p(x) = \frac{\alpha \hat x_0 - x}{\sigma^2},\quad
  \epsilon = 2 \Big(r \frac{\lVert z \rVert}{\lVert g \rVert}\Big)^2$$

Measured so, its size depends on the state, and it is no row of a table. But where $g$ is about as long as
$z / \sigma$, as it is where there is more noise than data, $\epsilon = 2 r^2 \sigma^2$: then it keeps the share
$q = 1 - 2 r^2$ of the noise and draws the rest anew, and is a row like any other.

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
    """Walks ``x`` along the table, and corrects it before each row at the row's level, by steps of measured size.

    Args:
        denoise: gives $x_0$ from ``x`` and its level; called ``1 + corrections`` times a row.
        tableau: of a method with one row a step, no memory and noise of its own, such as DDPM or DDIM.
        x: the start, ``(batch, ...)``, at the table's first level.
        key: one key, or one a sample.
        corrections: before each row, at least 0.
        snr: r, positive: the length of a correction in the score's direction, measured by that of its noise. It is
            measured for each sample alone, which wants samples of many numbers; see ``with_corrector``.

    Raises:
        ValueError: as ``sample``, for settings outside of their range, or if the method keeps a base state or older
            predictions, or leaves its noise to the network.
    """
    check_start(tableau, x, key)
    _check(tableau, corrections, snr)
    denoise = closure_converted(denoise, x, level_like(tableau, x), beside=(tableau, key, snr))
    out: X = _walk(denoise, tableau, x, key, jnp.asarray(snr, jnp.float32), corrections)
    return out


def with_corrector(tableau: Tableau[HostArray], corrections: int = 1, snr: float = 0.16) -> Tableau[HostArray]:
    r"""The table with rows before each of its own that renew the noise where it stands.

    $$x' = \alpha \hat x_0 + \sigma (q \hat\epsilon + \sqrt{1 - q^2}\, z),\qquad q = 1 - 2 r^2$$

    Args:
        tableau: of a method with one row a step, no memory and noise of its own, such as DDPM or DDIM.
        corrections: before each row, at least 0.
        snr: r, in (0, 1).

    Raises:
        ValueError: for settings outside of their range, or if the method keeps a base state or older predictions, or
            leaves its noise to the network.
    """
    _check(tableau, corrections, snr)
    check_number("snr", snr, 0, 1, "()")
    share = np.full(tableau.rows, 1 - 2 * snr**2)
    level = tableau.level
    rows, noise = x0_rows(StepSequence(a=level, b=level, end=tableau.end), share=share)
    assert noise is not None
    place = np.repeat(np.arange(tableau.rows), corrections + 1)
    own = np.arange(len(place)) % (corrections + 1) == corrections
    return tabulate(
        take(level, place),
        tableau.end,
        np.where(own[:, None], tableau.evaluate[place, :3], rows[place]),
        np.where(own, tableau.noise[place], noise[place]),
    )


def _check(tableau: Tableau[HostArray] | Tableau[Array], corrections: int, snr: float) -> None:
    check_whole("corrections", corrections, 0)
    check_positive("snr", snr)
    check_memoryless(tableau, "be with_corrector")


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

        def clean(x: X) -> X:
            return split_variance(denoise(x, level), x)[0]

        def correct(i: Int[Array, ""], x: X) -> X:
            return _langevin(x, clean(x), level, snr.astype(wide), draw(index, i + 1))

        x = jax.lax.fori_loop(0, corrections, correct, x)
        return linear_step([x, clean(x)], weights, noise_scale=noise, key=draw(index, 0)), None

    level = in_dtype(tableau.level, wide)
    weights = jnp.asarray(tableau.evaluate, wide)[:, jnp.array([0, 2])]
    out, _ = jax.lax.scan(step, x, (jnp.arange(tableau.rows), level, weights, jnp.asarray(tableau.noise, wide)))
    return out


def _langevin(x: X, clean: X, level: NoiseLevel[Array], snr: Float[Array, ""], keys: Key[Array, " b"]) -> X:
    """One correction, with its own size for each sample."""
    start = x.astype(snr.dtype)
    score = (expand(level.alpha, x) * clean.astype(snr.dtype) - start) / expand(level.sigma, x) ** 2
    noise = jax.vmap(lambda k: jax.random.normal(k, x.shape[1:], snr.dtype))(keys)
    over = tuple(range(1, x.ndim))
    ratio = jnp.sum(noise**2, axis=over) / jnp.maximum(jnp.sum(score**2, axis=over), 1e-20)
    size = expand(2 * snr**2 * ratio, x)
    return (start + size * score + jnp.sqrt(2 * size) * noise).astype(x.dtype)
