"""adaln in float64, and what holds an implementation to it."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels.adaln.config import Config
from artifex.kernels.adaln.pallas import pallas
from artifex.kernels.adaln.reference import reference
from artifex.kernels.adaln.xla import xla
from tests.kernels.agreement import assert_within, quick
from tests.kernels.exact import HostArray
from tests.kernels.tolerance import rounding, wide

Implementation = Callable[..., tuple[Array, Array]]
IMPLEMENTATIONS: Final[dict[str, Implementation]] = {
    "reference": reference,
    "xla": xla,
    # Tiles so small that there are several, the last ones not full.
    "pallas": partial(pallas, target="interpret", config=Config(numbers=32)),
}

Shape = tuple[int, int, int]
NAMES: Final = ("h", "y", "d_x", "d_branch", "d_gate", "d_scale", "d_shift")
EPSILON: Final = 1e-6


def exact(args: Sequence[HostArray], sizes: bool = False) -> tuple[HostArray, ...]:
    """The values of ``NAMES`` in float64, with gradients by hand.

    With ``sizes``, what the terms would come to if none cancelled, times how much rounding of ``h`` grows in the norm.
    """
    x, branch, gate, scale, shift, d_h, d_y = args
    h = x + gate[:, None] * branch
    rstd = 1 / np.sqrt(h.var(-1, keepdims=True) + EPSILON)
    if not sizes:
        normal = (h - h.mean(-1, keepdims=True)) * rstd
        d_normal = d_y * (1 + scale[:, None])
        along = normal * np.mean(d_normal * normal, -1, keepdims=True)
        d_h = d_h + rstd * (d_normal - d_normal.mean(-1, keepdims=True) - along)
    else:
        x, branch, gate, shift, d_h, d_y = (np.abs(v) for v in (x, branch, gate, shift, d_h, d_y))
        scale = np.abs(scale)
        h = x + gate[:, None] * branch
        growth = 1 + rstd * h.max(-1, keepdims=True)
        normal = (h + h.mean(-1, keepdims=True)) * rstd * growth
        d_normal = d_y * (1 + scale[:, None])
        along = normal * np.mean(d_normal * normal, -1, keepdims=True)
        d_h = d_h + rstd * growth * (d_normal + d_normal.mean(-1, keepdims=True) + along)
    y = normal * (1 + scale[:, None]) + shift[:, None]
    d_gate, d_scale = np.sum(d_h * branch, 1), np.sum(d_y * normal, 1)
    return h, y, d_h, gate[:, None] * d_h, d_gate, d_scale, d_y.sum(1)


def inputs(shape: Shape, seed: int, size: float = 1.0, dtype: DTypeLike = np.float32) -> list[HostArray]:
    """The arguments of ``exact``: numbers that ``dtype`` holds exactly, the tokens ``size`` times as large."""
    rng = np.random.default_rng(seed)
    vector = (shape[0], shape[2])
    normal = [rng.normal(size=n) for n in (shape, shape, vector, vector, vector, shape, shape)]
    x, branch, *rest = (np.asarray(v.astype(np.dtype(dtype)), np.float64) for v in normal)
    return [x * size, branch * size, *rest]


@cache
def both_ways(name: str) -> Callable[..., tuple[Array, ...]]:
    """Forward and vjp of an implementation in one program."""

    @partial(jax.jit, compiler_options=quick)
    def run(
        x: Array, branch: Array, gate: Array, scale: Array, shift: Array, d_h: Array, d_y: Array
    ) -> tuple[Array, ...]:
        out, vjp = jax.vjp(lambda *args: IMPLEMENTATIONS[name](*args, EPSILON), x, branch, gate, scale, shift)
        return *out, *vjp((d_h, d_y))

    return run


def check(name: str, shape: Shape, args: list[HostArray], dtype: DTypeLike = np.float32) -> None:
    """Compare values and gradients with float64's, within the rounding of ``dtype`` and of sums of that length."""
    full = wide(dtype)
    dtypes = (dtype, dtype, full, full, full, dtype, dtype)
    got = both_ways(name)(*(jnp.asarray(v, d) for v, d in zip(args, dtypes, strict=True)))
    relative = rounding(dtype, shape[1] + shape[2] + 8)
    for label, a, want, size in zip(NAMES, got, exact(args), exact(args, sizes=True), strict=True):
        assert a.dtype == (full if label in ("d_gate", "d_scale", "d_shift") else dtype), label
        assert_within(label, a, want, relative, size)


ODD: Final = (2, 5, 7)
LONE: Final = (1, 24, 3)  # a lone sample's sums over tokens have code of their own


def arrays(seed: int) -> list[Array]:
    return [jnp.asarray(v, jnp.float32) for v in inputs(ODD, seed)[:5]]


@cache
def compiled(name: str) -> Callable[..., tuple[Array, Array]]:
    return jax.jit(lambda *args: IMPLEMENTATIONS[name](*args, EPSILON), compiler_options=quick)
