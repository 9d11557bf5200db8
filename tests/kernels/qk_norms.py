"""qk_norm_rope in float64, and what holds an implementation to it."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final, get_args

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels.qk_norm_rope.config import Config
from artifex.kernels.qk_norm_rope.pallas import pallas
from artifex.kernels.qk_norm_rope.reference import Norm, reference
from artifex.kernels.qk_norm_rope.xla import xla
from tests.kernels.agreement import assert_within, quick
from tests.kernels.exact import HostArray
from tests.kernels.tolerance import rounding, wide

Implementation = Callable[..., Array]
IMPLEMENTATIONS: Final[dict[str, Implementation]] = {
    "reference": reference,
    "xla": xla,
    # Tiles so small that there are several, the last ones not full.
    "pallas": partial(pallas, target="interpret", config=Config(numbers=128)),
}
NORMS: Final[tuple[Norm, ...]] = get_args(Norm)

EPSILON: Final = 1e-6


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, ...]:
    """Batch, batch of positions, tokens, heads, axes, pairs an axis."""
    b = draw(st.integers(1, 3))
    return b, draw(st.sampled_from([1, b])), *(draw(st.integers(1, n)) for n in (7, 4, 3, 5))


def exact(args: Sequence[HostArray], norm: str, sizes: bool = False) -> tuple[HostArray, HostArray, HostArray]:
    """The rotated norm and its gradients by ``x`` and ``gain``, in float64, pairs as complex numbers.

    With ``sizes``, what the terms would come to if none cancelled, times how much rounding of ``x`` grows in the norm.
    """
    x, gain, angles, d_y = args
    shape = x.shape
    a, n = angles.shape[-2:]

    def turn(v: HostArray, by: HostArray) -> HostArray:
        pairs = v.reshape(*shape[:3], a, 2, n)
        z = (pairs[..., 0, :] + 1j * pairs[..., 1, :]) * np.exp(1j * by)[:, :, None]
        return np.stack([z.real, z.imag], -2).reshape(shape)

    def swapped(v: HostArray) -> HostArray:
        """The sum of both sizes of each pair, twice."""
        pairs = np.abs(v).reshape(*shape[:3], a, 2, n)
        return np.broadcast_to(pairs.sum(-2, keepdims=True), pairs.shape).reshape(shape)

    mean = x.mean(-1, keepdims=True) if norm == "layer" else 0.0
    rstd = 1 / np.sqrt(np.mean((x - mean) ** 2, -1, keepdims=True) + EPSILON)
    if not sizes:
        normal = (x - mean) * rstd
        d_z = turn(d_y, -angles)
        d_normal = d_z * gain
        center = d_normal.mean(-1, keepdims=True) if norm == "layer" else 0.0
        d_x = rstd * (d_normal - center - normal * np.mean(d_normal * normal, -1, keepdims=True))
        return turn(normal * gain, angles), d_x, np.sum(d_z * normal, (0, 1, 2))
    x, gain = np.abs(x), np.abs(gain)
    growth = 1 + rstd * x.max(-1, keepdims=True)
    normal = (x + np.abs(mean)) * rstd * growth
    d_z = swapped(d_y)
    d_normal = d_z * gain
    d_x = d_normal + d_normal.mean(-1, keepdims=True) + normal * np.mean(d_normal * normal, -1, keepdims=True)
    return swapped(normal * gain), rstd * growth * d_x, np.sum(d_z * normal, (0, 1, 2))


def inputs(layout: tuple[int, ...], seed: int, size: float = 1.0, dtype: DTypeLike = np.float32) -> list[HostArray]:
    """The arrays of ``exact``: heads, ``size`` times as large, and cotangents that ``dtype`` holds exactly."""
    b, b_positions, t, h, a, n = layout
    rng = np.random.default_rng(seed)
    shape = (b, t, h, 2 * a * n)
    x, d_y = (np.asarray(rng.normal(size=shape).astype(np.dtype(dtype)), np.float64) for _ in range(2))
    gain = np.asarray(rng.normal(size=shape[-1]).astype(np.float32), np.float64)
    return [x * size, gain, rng.uniform(-4, 4, (b_positions, t, a, n)), d_y]


@cache
def both_ways(name: str, norm: Norm) -> Callable[..., tuple[Array, ...]]:
    """Forward and vjp of an implementation in one program."""

    @partial(jax.jit, compiler_options=quick)
    def run(x: Array, gain: Array, cos: Array, sin: Array, d_y: Array) -> tuple[Array, ...]:
        out, vjp = jax.vjp(lambda x, gain: IMPLEMENTATIONS[name](x, gain, cos, sin, norm, EPSILON), x, gain)
        return out, *vjp(d_y)

    return run


def check(name: str, norm: Norm, args: list[HostArray], dtype: DTypeLike = np.float32) -> None:
    """Compare values and gradients with float64's, within the rounding of ``dtype`` and of sums of that length."""
    full = wide(dtype)
    x, gain, angles, d_y = args
    turns = jnp.asarray(np.cos(angles), full), jnp.asarray(np.sin(angles), full)
    got = both_ways(name, norm)(jnp.asarray(x, dtype), jnp.asarray(gain, full), *turns, jnp.asarray(d_y, dtype))
    short, long = rounding(dtype, x.shape[-1] + 8), rounding(full, x.size + 8)
    truth, sizes = exact(args, norm), exact(args, norm, sizes=True)
    for label, a, want, size in zip(("y", "d_x", "d_gain"), got, truth, sizes, strict=True):
        assert a.dtype == (full if label == "d_gain" else dtype), label
        assert_within(label, a, want, long if label == "d_gain" else short, size)


ODD: Final = (2, 2, 5, 3, 2, 3)
