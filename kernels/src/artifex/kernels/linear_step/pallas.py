"""The weighted sum as a Pallas kernel that draws its own noise."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Key

from artifex.kernels.linear_step import threefry
from artifex.kernels.linear_step.config import DEFAULT, Config
from artifex.kernels.linear_step.noise import KeyWords, Noise
from artifex.kernels.linear_step.vjp import Rows, with_vjp
from artifex.kernels.platform import Target, pallas_call, shaped


@partial(jax.jit, static_argnames=("clip", "noise", "target", "config"))
def pallas(
    terms: Sequence[Float[Array, "b *d"]],
    weights: Float[Array, "b k"],
    noise_scale: Float[Array, " b"] | None,
    keys: Key[Array, " b"] | None,
    clip: float | None,
    noise: Noise,
    target: Target | None = None,
    config: Config = DEFAULT,
) -> Float[Array, "b *d"]:
    """``clip(sum_j weights[:, j] terms[j] + noise_scale z)``; see ``linear_step``.

    A sample whose size is not a multiple of a block is copied to a padded one.
    """
    kernel = partial(_rows, clip=clip, target=target, config=config)
    return with_vjp(kernel, terms, weights, noise_scale, keys, clip, noise)


def _rows(
    rows: Rows,
    weights: Float[Array, "b k"],
    noise_scale: Float[Array, " b"] | None,
    seeds: KeyWords | None,
    clip: float | None,
    target: Target | None,
    config: Config,
) -> tuple[Float[Array, "b n"]]:
    """One sample per row."""
    b, n = rows[0].shape
    block = min(config.block, max(128, n & -n))
    size = -(-n // block) * block
    tile = pl.BlockSpec((None, 1, block), lambda i, j: (i, 0, j))

    def each(width: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, 1, width), lambda i, j: (i, 0, 0))

    arguments = [jnp.pad(row, ((0, 0), (0, size - n)))[:, None] for row in rows]
    specs = [tile] * len(rows)
    for numbers in (weights, None if noise_scale is None else noise_scale[:, None], seeds):
        if numbers is not None:
            arguments.append(numbers[:, None])
            specs.append(each(numbers.shape[1]))
    (out,) = pallas_call(
        partial(_kernel, terms=len(rows), block=block, clip=clip),
        target,
        grid=(b, size // block),
        in_specs=specs,
        out_specs=[tile],
        out_shape=[shaped((b, 1, size), rows[0].dtype)],
        name="linear_step",
        warps=config.warps,
        stages=1,
    )(*arguments)
    return (out[:, 0, :n],)


def _kernel(*refs: jax.Ref, terms: int, block: int, clip: float | None) -> None:
    """Refs of the terms, their weights, the scale and key of the noise if any, and the result."""
    weights, *noise, out = refs[terms:]
    total = jnp.zeros((1, block), jnp.float32)
    for j, term in enumerate(refs[:terms]):
        total = total + weights[:, j : j + 1] * term[...].astype(jnp.float32)
    if noise:
        scale, key = noise
        at = pl.program_id(1) * block + jax.lax.broadcasted_iota(jnp.int32, (1, block), 1)
        word = threefry.words(key[:, :1], key[:, 1:], at.astype(jnp.uint32))
        total = total + scale[...] * threefry.normal(word)
    if clip is not None:
        total = jnp.clip(total, -clip, clip)
    out[...] = total.astype(out.dtype)
