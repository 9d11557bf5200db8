"""group_norm_silu in float64, and what holds an implementation to it."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels.group_norm_silu.config import Config
from artifex.kernels.group_norm_silu.pallas import pallas
from artifex.kernels.group_norm_silu.reference import reference
from artifex.kernels.group_norm_silu.xla import xla
from tests.kernels.agreement import assert_within, quick
from tests.kernels.exact import HostArray
from tests.kernels.tolerance import rounding, wide

Implementation = Callable[..., Array]
IMPLEMENTATIONS: Final[dict[str, Implementation]] = {
    "reference": reference,
    "xla": xla,
    # Tiles so small that there are several, the last ones not full.
    "pallas": partial(pallas, target="interpret", config=Config(numbers=32)),
}

Shape = tuple[int, int, int]
NAMES: Final = ("y", "d_x", "d_weight", "d_bias")
EPSILON: Final = 1e-6


def exact(args: Sequence[HostArray], groups: int, silu: bool, sizes: bool = False) -> tuple[HostArray, ...]:
    """The values of ``NAMES`` in float64, with gradients by hand.

    With ``sizes``, what the terms would come to if none cancelled, times how much rounding of ``x`` and of a mean of
    squares grows in the norm.
    """
    x, weight, bias, d_y = args
    b, p, c = x.shape

    def group(v: HostArray) -> HostArray:
        means = v.reshape(b, p, groups, -1).mean((1, 3))
        return np.repeat(means, c // groups, axis=-1)[:, None]

    rstd = 1 / np.sqrt(group(x**2) - group(x) ** 2 + EPSILON)
    normal = (x - group(x)) * rstd
    u = weight[:, None] * normal + bias[:, None]
    s = 1 / (1 + np.exp(-u)) if silu else np.ones_like(u)
    slope = s * (1 + u * (1 - s))
    if not sizes:
        d_u = d_y * slope
        d_normal = weight[:, None] * d_u
        d_x = rstd * (d_normal - group(d_normal) - normal * group(d_normal * normal))
        return u * s, d_x, np.sum(d_u * normal, 1), np.sum(d_u, 1)
    x, weight, bias, d_y = (np.abs(v) for v in (x, weight, bias, d_y))
    growth = 1 + rstd**2 * group(x**2)
    normal = (x + group(x)) * rstd * growth
    u = weight[:, None] * normal + bias[:, None]
    d_u = d_y * (1 + u)  # the slope's own slope is at most 1/2
    d_normal = weight[:, None] * d_u
    d_x = rstd * growth * (d_normal + group(d_normal) + normal * group(d_normal * normal))
    return u, d_x, np.sum(d_u * normal, 1), np.sum(d_u, 1)


def inputs(shape: Shape, seed: int, size: float = 1.0, dtype: DTypeLike = np.float32) -> list[HostArray]:
    """The arrays of ``exact``: numbers that ``dtype`` holds exactly, ``x`` ``size`` times as large."""
    rng = np.random.default_rng(seed)
    vector = (shape[0], shape[2])
    x, *rest = (
        np.asarray(rng.normal(size=n).astype(np.dtype(dtype)), np.float64) for n in (shape, vector, vector, shape)
    )
    return [x * size, *rest]


@cache
def both_ways(name: str, groups: int, silu: bool) -> Callable[..., tuple[Array, ...]]:
    """Forward and vjp of an implementation in one program."""

    @partial(jax.jit, compiler_options=quick)
    def run(x: Array, weight: Array, bias: Array, d_y: Array) -> tuple[Array, ...]:
        out, vjp = jax.vjp(lambda *args: IMPLEMENTATIONS[name](*args, groups, EPSILON, silu), x, weight, bias)
        return out, *vjp(d_y)

    return run


def check(
    name: str, shape: Shape, groups: int, args: list[HostArray], dtype: DTypeLike = np.float32, silu: bool = True
) -> None:
    """Compare values and gradients with float64's, within the rounding of ``dtype`` and of sums of that length."""
    full = wide(dtype)
    arrays = (jnp.asarray(v, d) for v, d in zip(args, (dtype, full, full, dtype), strict=True))
    got = both_ways(name, groups, silu)(*arrays)
    relative = rounding(dtype, shape[1] * shape[2] // groups + 8)
    truth, sizes = exact(args, groups, silu), exact(args, groups, silu, sizes=True)
    for label, a, want, size in zip(NAMES, got, truth, sizes, strict=True):
        assert a.dtype == (dtype if label in ("y", "d_x") else full), label
        assert_within(label, a, want, relative, size)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Shape, int]:
    groups, width = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    return (draw(st.integers(1, 3)), draw(st.integers(1, 30)), groups * width), groups


ODD: Final = (2, 15, 6)
LONE: Final = (1, 24, 6)  # a lone sample's sums over places have code of their own


def arrays(seed: int) -> list[Array]:
    return [jnp.asarray(v, jnp.float32) for v in inputs(ODD, seed)[:3]]


@cache
def compiled(name: str, groups: int = 2, silu: bool = False) -> Callable[..., Array]:
    return jax.jit(lambda *args: IMPLEMENTATIONS[name](*args, groups, EPSILON, silu), compiler_options=quick)


def check_large_mean(name: str) -> None:
    """Check the variance of numbers around 1000, within what their own rounding leaves of it."""
    x = np.asarray(1000 + np.random.default_rng(0).normal(size=ODD), np.float32)
    ones = jnp.ones((2, 6))
    y = IMPLEMENTATIONS[name](jnp.asarray(x), ones, jnp.zeros_like(ones), 2, EPSILON, False)
    grouped = x.astype(np.float64).reshape(2, 15, 2, 3)
    normal = (grouped - grouped.mean((1, 3), keepdims=True)) / grouped.std((1, 3), keepdims=True)
    np.testing.assert_allclose(y, normal.reshape(ODD), atol=1e-3)
