"""The contract of the norm and rotary embedding of queries and keys."""

from collections.abc import Mapping
from typing import Final

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Real

from artifex.kernels.checks import check_axes, check_dtype, check_shape
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.qk_norm_rope import support
from artifex.kernels.qk_norm_rope.config import FASTEST
from artifex.kernels.qk_norm_rope.pallas import pallas
from artifex.kernels.qk_norm_rope.reference import Norm, reference
from artifex.kernels.qk_norm_rope.xla import xla
from artifex.kernels.ranges import check_positive

Run = Implementation[[Array, Array, Array, Array, Norm, float], Array]


def _triton(x: Array, gain: Array, cos: Array, sin: Array, norm: Norm, epsilon: float) -> Array:
    from artifex.kernels.qk_norm_rope.triton import triton

    y: Array = triton(x, gain, cos, sin, norm, epsilon)
    return y


IMPLEMENTATIONS: Final[Mapping[ImplementationName, Run]] = {
    "reference": Implementation(reference),
    "xla": Implementation(xla),
    "pallas": Implementation(pallas, support.pallas),
    "triton": Implementation(_triton, support.triton),
}


def qk_norm_rope(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b t j d"],
    positions: Real[Array, "t a"] | Real[Array, "b t a"],
    *,
    q_gain: Float[Array, " d"] | None = None,
    k_gain: Float[Array, " d"] | None = None,
    norm: Norm = "rms",
    theta: float = 10000.0,
    epsilon: float = 1e-6,
    implementation: ImplementationName | None = None,
) -> tuple[Float[Array, "b t h d"], Float[Array, "b t j d"]]:
    r"""Normalize each head of the queries and keys, then rotate it by the position of its token.

    $$z = g \cdot \frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}},\qquad
      \begin{pmatrix} y_i \\ y_{n+i} \end{pmatrix} =
      \begin{pmatrix} \cos\phi_i & -\sin\phi_i \\ \sin\phi_i & \cos\phi_i \end{pmatrix}
      \begin{pmatrix} z_i \\ z_{n+i} \end{pmatrix},\qquad \phi_i = p\,\theta^{-i/n},\quad i < n$$

    for one axis of positions $p$ and $2n$ elements per head. With more axes, such as row and column, a head is split
    into as many equal parts, each rotated by its own axis. Attention scores then depend on differences of positions
    only. Everything is computed in float32 at least.

    Args:
        q: queries, ``(batch, tokens, heads, head_dim)``, of dtype float16, bfloat16, float32 or float64.
        k: keys, of the dtype of ``q`` and of its shape except for the number of heads.
        positions: of the tokens, ``(tokens, axes)`` or ``(batch, tokens, axes)``, of an integer or floating dtype;
            ``2 axes`` divides ``head_dim``. They get no gradient.
        q_gain: ``(head_dim,)``, weights of the normalized queries; ones where None.
        k_gain: ``(head_dim,)``, weights of the normalized keys; ones where None.
        norm: ``"rms"`` divides a head by its root mean square, ``"layer"`` subtracts its mean first.
        theta: base of the frequencies, positive.
        epsilon: added to the mean square, positive.
        implementation: which one to run; None takes the fastest that is known.

    Returns:
        Queries and keys in the shapes and dtype of ``q`` and ``k``.

    Raises:
        ValueError: for shapes or dtypes that don't fit each other, an empty axis, an unknown norm, or a theta or
            epsilon that is not positive.
        UnsupportedKernelError: if ``implementation`` names one that does not exist or can't run here.

    References: Su et al. 2021, https://arxiv.org/abs/2104.09864 (which pairs neighboring
        elements: a permutation of a head); Dehghani et al. 2023 for the norm, https://arxiv.org/abs/2302.05442
    """
    for name, x in (("q", q), ("k", k)):
        check_axes(name, x, "(batch, tokens, heads, head_dim)", 4)
        check_dtype(name, x)
    if q.dtype != k.dtype:
        raise ValueError(f"q and k must be of one dtype, got {q.dtype} and {k.dtype}")
    b, t, _, d = q.shape
    if (b, t, d) != (k.shape[0], k.shape[1], k.shape[3]):
        raise ValueError(f"k must agree with q in batch, tokens and head_dim, got q {q.shape} and k {k.shape}")
    if norm not in ("rms", "layer"):
        raise ValueError(f"norm must be 'rms' or 'layer', got {norm!r}")
    check_positive("theta", theta)
    check_positive("epsilon", epsilon)
    wide = accumulation_dtype(q.dtype)
    cos, sin = _angles(positions, (b, t, d), float(theta), wide)

    def full_gain(name: str, gain: Array | None) -> Float[Array, " d"]:
        if gain is None:
            return jnp.ones((d,), wide)
        check_shape(name, gain, "(head_dim,)", (d,))
        return gain.astype(wide)

    gains = full_gain("q_gain", q_gain), full_gain("k_gain", k_gain)

    def run(x: Array, gain: Array) -> Array:
        return dispatch(
            "qk_norm_rope", implementation, IMPLEMENTATIONS, FASTEST, x, gain, cos, sin, norm, float(epsilon)
        )

    return run(q, gains[0]), run(k, gains[1])


def _angles(
    positions: Array, sizes: tuple[int, int, int], theta: float, wide: DTypeLike
) -> tuple[Float[Array, "#b t a n"], Float[Array, "#b t a n"]]:
    """Cosine and sine of each pair's angle."""
    b, t, d = sizes
    check_axes("positions", positions, "(tokens, axes) or (batch, tokens, axes)", 2, 3)
    if not (jnp.issubdtype(positions.dtype, jnp.integer) or jnp.issubdtype(positions.dtype, jnp.floating)):
        raise ValueError(f"positions must be of an integer or floating dtype, got {positions.dtype}")
    axes = positions.shape[-1]
    if positions.shape not in ((t, axes), (b, t, axes)):
        raise ValueError(f"positions must be {(t, axes)} or {(b, t, axes)}, got shape {positions.shape}")
    if d % (2 * axes):
        raise ValueError(f"head_dim must be a multiple of 2 for each of the {axes} axes of positions, got {d}")
    n = d // (2 * axes)
    frequencies = theta ** (-jnp.arange(n, dtype=wide) / n)
    angles = lax.stop_gradient(positions).astype(wide).reshape(-1, t, axes, 1) * frequencies[None, None, None]
    return jnp.cos(angles), jnp.sin(angles)
