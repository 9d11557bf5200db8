"""The contract of normed and rotated queries and keys."""

from collections.abc import Mapping
from typing import Final

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.kernels.checks import check_axes, check_dtype, check_shape, why_not_pallas, why_not_triton
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.dtypes import accumulation_dtype
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
    "pallas": Implementation(pallas, why_not_pallas),
    "triton": Implementation(_triton, why_not_triton),
}


def qk_norm_rope(
    q: Array,
    k: Array,
    positions: Array,
    *,
    q_gain: Array | None = None,
    k_gain: Array | None = None,
    norm: Norm = "rms",
    theta: float = 10000.0,
    epsilon: float = 1e-6,
    implementation: ImplementationName | None = None,
) -> tuple[Array, Array]:
    r"""Queries and keys, each head normed and then rotated by where its token stands.

    $$z = g \cdot \frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}},\qquad
      \begin{pmatrix} y_i \\ y_{n+i} \end{pmatrix} =
      \begin{pmatrix} \cos\phi_i & -\sin\phi_i \\ \sin\phi_i & \cos\phi_i \end{pmatrix}
      \begin{pmatrix} z_i \\ z_{n+i} \end{pmatrix},\qquad \phi_i = p\,\theta^{-i/n},\quad i < n$$

    for one axis of positions $p$ and $2n$ numbers a head. With more axes, a row and a column say, a head is cut into
    as many equal parts, and each turns by its own axis. Scores of what comes out depend on differences of positions
    alone. Everything is computed in float32 at least.

    Args:
        q: queries, ``(batch, tokens, heads, head_dim)``, of dtype float16, bfloat16, float32 or float64.
        k: keys, of the dtype of ``q`` and like it in shape but for the heads.
        positions: where the tokens stand, ``(tokens, axes)`` or ``(batch, tokens, axes)``, of an integer or floating
            dtype; ``2 axes`` divides ``head_dim``. They get no gradient.
        q_gain: ``(head_dim,)``, multiplies the normed queries; ones where None.
        k_gain: ``(head_dim,)``, likewise for the keys.
        norm: ``"rms"`` divides a head by its root mean square, ``"layer"`` takes its mean off first.
        theta: ratio of the fastest turn to the slowest, nearly; positive.
        epsilon: added to the mean square, positive.
        implementation: the implementation to run; None takes the fastest that is known.

    Returns:
        Queries and keys in the shapes and dtype of ``q`` and ``k``.

    Raises:
        ValueError: for shapes or dtypes that don't fit each other, an empty axis, an unknown norm, or a theta or
            epsilon that is not positive.
        UnsupportedKernelError: if ``implementation`` names an implementation that does not exist or can't run here.

    References: Su et al. 2021, https://arxiv.org/abs/2104.09864 (there the pairs are neighbours: a permutation of the
        numbers of a head); Dehghani et al. 2023 for the norm, https://arxiv.org/abs/2302.05442
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
    cos, sin = _turns(positions, (b, t, d), float(theta), wide)

    def gain_of(name: str, gain: Array | None) -> Float[Array, " d"]:
        if gain is None:
            return jnp.ones((d,), wide)
        check_shape(name, gain, "(head_dim,)", (d,))
        return gain.astype(wide)

    gains = gain_of("q_gain", q_gain), gain_of("k_gain", k_gain)

    def run(x: Array, gain: Array) -> Array:
        return dispatch(
            "qk_norm_rope", implementation, IMPLEMENTATIONS, FASTEST, x, gain, cos, sin, norm, float(epsilon)
        )

    return run(q, gains[0]), run(k, gains[1])


def _turns(
    positions: Array, sizes: tuple[int, int, int], theta: float, wide: DTypeLike
) -> tuple[Float[Array, "#b t a n"], Float[Array, "#b t a n"]]:
    """Cosine and sine of the angles by which each pair of each token turns."""
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
