"""The norm of a head and its rotation as Pallas kernels; a matrix product swaps the elements of each pair."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.kernels.platform import Target, pallas_call, shaped
from artifex.kernels.qk_norm_rope.config import DEFAULT, Config
from artifex.kernels.qk_norm_rope.reference import Norm
from artifex.kernels.qk_norm_rope.vjp import with_vjp
from artifex.kernels.tiles import ceil_to, padded, tile, tile_rows


@partial(jax.jit, static_argnames=("norm", "epsilon", "target", "config"))
def pallas(
    x: Float[Array, "b t h d"],
    gain: Float[Array, " d"],
    cos: Float[Array, "#b t a n"],
    sin: Float[Array, "#b t a n"],
    norm: Norm,
    epsilon: float,
    target: Target | None = None,
    config: Config = DEFAULT,
) -> Float[Array, "b t h d"]:
    """Normalize and rotate queries or keys; see ``qk_norm_rope``."""
    n = cos.shape[3]

    def call(backward: bool, x: Array, gain: Array, cos: Array, sin: Array, *d_y: Array) -> tuple[Array, ...]:
        """Run a kernel on arrays padded to whole tiles and slice its results."""
        (b, t, h, d), wide = x.shape, gain.dtype
        # A matrix product on a GPU takes 16 rows and columns at least.
        width, heads = max(16, tile(d, target)), tile(h, target)
        rows = max(tile_rows(config.numbers, heads * width, t, target), -(-16 // heads))
        length = ceil_to(t, rows)
        gains, turns = (min(1, v.shape[0] - 1) for v in (gain, cos))
        token = pl.BlockSpec((None, rows, heads, width), lambda i, j: (i, j, 0, 0))
        vector = pl.BlockSpec((None, 1, width), lambda i, j: (i * gains, 0, 0))
        turn = pl.BlockSpec((None, rows, width), lambda i, j: (i * turns, j, 0))
        square = pl.BlockSpec((width, width), lambda i, j: (0, 0))
        part = pl.BlockSpec((None, None, 1, width), lambda i, j: (i, j, 0, 0))
        like_x, parts = shaped((b, length, heads, width), x.dtype), shaped((b, length // rows, 1, width), wide)
        filled = pallas_call(
            partial(_backward if backward else _forward, head_dim=d, centred=norm == "layer", epsilon=epsilon),
            target,
            grid=(b, length // rows),
            in_specs=[token, vector, turn, turn, square, *(token for _ in d_y)],
            out_specs=[token, part] if backward else [token],
            out_shape=[like_x, parts] if backward else [like_x],
            name="qk_norm_rope_backward" if backward else "qk_norm_rope_forward",
            warps=config.warps,
        )(
            padded(x, length, heads, width),
            padded(gain[:, None], width),
            padded(cos, length, width),
            padded(sin, length, width),
            padded(_quarter_turn(d, n, wide), width, width),
            *(padded(v, length, heads, width) for v in d_y),
        )
        return (filled[0][:, :t, :h, :d], *(v[..., :d] for v in filled[1:]))

    return with_vjp(partial(call, False), partial(call, True), x, gain, cos, sin)


def _quarter_turn(head_dim: int, n: int, dtype: DTypeLike) -> Float[Array, "d d"]:
    """The matrix that, multiplied from the right, takes ``(left, right)`` of each pair to ``(-right, left)``."""
    left = jnp.arange(head_dim)[:, None] % (2 * n) < n
    return jnp.where(left, jnp.eye(head_dim, k=n, dtype=dtype), -jnp.eye(head_dim, k=-n, dtype=dtype))


def _forward(
    x: jax.Ref,
    gain: jax.Ref,
    cos: jax.Ref,
    sin: jax.Ref,
    quarter: jax.Ref,
    y: jax.Ref,
    *,
    head_dim: int,
    centred: bool,
    epsilon: float,
) -> None:
    """Forward for all heads of some tokens."""
    normal, _ = _norm(x, gain.dtype, head_dim, centred, epsilon)
    z = normal * gain[...]
    turned = z * _by_head(cos, x.shape) + _product(z, quarter) * _by_head(sin, x.shape)
    y[...] = turned.reshape(y.shape).astype(y.dtype)


def _backward(
    x: jax.Ref,
    gain: jax.Ref,
    cos: jax.Ref,
    sin: jax.Ref,
    quarter: jax.Ref,
    d_y: jax.Ref,
    d_x: jax.Ref,
    d_gain: jax.Ref,
    *,
    head_dim: int,
    centred: bool,
    epsilon: float,
) -> None:
    """Backward for all heads of some tokens; padding adds zero to the sum over them."""
    normal, rstd = _norm(x, gain.dtype, head_dim, centred, epsilon)
    dy = d_y[...].astype(gain.dtype).reshape(normal.shape)
    # The inverse rotation: the quarter turn's transpose is its negative.
    d_z = dy * _by_head(cos, x.shape) - _product(dy, quarter) * _by_head(sin, x.shape)
    d_gain[...] = jnp.sum(d_z * normal, 0, keepdims=True)
    d_normal = d_z * gain[...]
    pulled = d_normal - normal * (jnp.sum(d_normal * normal, -1, keepdims=True) / head_dim)
    if centred:
        pulled -= jnp.sum(d_normal, -1, keepdims=True) / head_dim
    d_x[...] = (rstd * pulled).reshape(d_x.shape).astype(d_x.dtype)


def _norm(x: jax.Ref, wide: jnp.dtype, head_dim: int, centred: bool, epsilon: float) -> tuple[Array, Array]:
    """The norm of every head, one per row and padded with zeros, and the factor of each row."""
    tokens, heads, width = x.shape
    v = x[...].astype(wide).reshape(tokens * heads, width)
    if centred:
        valid = lax.broadcasted_iota(jnp.int32, v.shape, 1) < head_dim
        v = jnp.where(valid, v - jnp.sum(v, -1, keepdims=True) / head_dim, 0)
    rstd = lax.rsqrt(jnp.sum(v * v, -1, keepdims=True) / head_dim + epsilon)
    return v * rstd, rstd


def _by_head(turn: jax.Ref, shape: tuple[int, ...]) -> Array:
    """The values of a token, for each of its heads."""
    tokens, heads, width = shape
    return jnp.broadcast_to(turn[...][:, None], shape).reshape(tokens * heads, width)


def _product(z: Array, quarter: jax.Ref) -> Array:
    """The quarter turn; exact, since each sum has one nonzero term."""
    return jnp.dot(z, quarter[...], precision=lax.Precision.HIGHEST, preferred_element_type=z.dtype)
