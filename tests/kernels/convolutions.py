"""Convolution in float64, and the comparison of implementations with it."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Final, Literal

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels import ImplementationName, conv, upsample_conv
from tests.kernels.agreement import assert_within, quick
from tests.kernels.exact import HostArray
from tests.kernels.tolerance import rounding

Operation = Literal["conv", "upsample_conv"]
NAMES: Final = ("y", "d_x", "d_kernel")
IMPLEMENTATIONS: Final[Mapping[Operation, tuple[ImplementationName, ...]]] = {
    "conv": ("reference", "xla", "winograd"),
    "upsample_conv": ("reference", "xla", "winograd", "polyphase"),
}
EACH: Final = [(operation, name) for operation, names in IMPLEMENTATIONS.items() for name in names]
GROWTH: Final = {"reference": 1.0, "xla": 1.0, "winograd": 32.0, "polyphase": 4.0}
"""The rounding error of sums and differences of inputs, relative to a plain sum's, for the largest output."""

Layout = tuple[tuple[int, int, int, int], int, int, int, tuple[int, int]]
"""Shape of the images, size of the kernel, channels of the output, stride and padding."""


def exact(
    x: HostArray, w: HostArray, g: HostArray, stride: int, padding: tuple[int, int]
) -> tuple[HostArray, HostArray, HostArray]:
    """``y``, and the gradients of ``sum(g y)`` by ``x`` and ``w``, in float64: one shift of the image at a time."""
    x, w, g = (a.astype(np.float64) for a in (x, w, g))
    padded = np.pad(x, ((0, 0), padding, padding, (0, 0)))
    y, d_padded, d_w = np.zeros(g.shape), np.zeros(padded.shape), np.zeros(w.shape)
    rows, columns = ((n - 1) * stride + 1 for n in g.shape[1:3])
    for u, v in np.ndindex(w.shape[:2]):
        window = np.s_[:, u : u + rows : stride, v : v + columns : stride]
        y += padded[window] @ w[u, v]
        d_padded[window] += g @ w[u, v].T
        d_w[u, v] = np.einsum("bijc,bijo->co", padded[window], g)
    before = padding[0]
    return y, d_padded[:, before : before + x.shape[1], before : before + x.shape[2]], d_w


def upsampled(x: HostArray) -> HostArray:
    """``x`` with every pixel repeated 2x2 times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


@cache
def both_ways(
    operation: Operation, name: ImplementationName, stride: int, padding: tuple[int, int]
) -> Callable[..., tuple[Array, ...]]:
    """Forward and vjp of an implementation in one program."""

    def f(x: Array, w: Array) -> Array:
        if operation == "upsample_conv":
            return upsample_conv(x, w, padding=padding, implementation=name)
        return conv(x, w, stride=stride, padding=padding, implementation=name)

    @partial(jax.jit, compiler_options=quick)
    def run(x: Array, w: Array, g: Array) -> tuple[Array, ...]:
        y, vjp = jax.vjp(f, x, w)
        return y, *vjp(g)

    return run


def check(
    operation: Operation, name: ImplementationName, layout: Layout, seed: int, dtype: DTypeLike = np.float32
) -> None:
    """Compare values and gradients with float64's, within the rounding of ``dtype`` and of sums of that length."""
    (b, h, w, i), size, o, stride, padding = layout
    scale = 2 if operation == "upsample_conv" else 1
    y, x = ((scale * n + sum(padding) - size) // stride + 1 for n in (h, w))
    rng = np.random.default_rng(seed)
    shapes = (b, h, w, i), (size, size, i, o), (b, y, x, o)
    args = [np.asarray(rng.normal(size=s).astype(np.dtype(dtype)), np.float64) for s in shapes]

    def of(image: HostArray, kernel: HostArray, g: HostArray) -> tuple[HostArray, HostArray, HostArray]:
        if scale == 1:
            return exact(image, kernel, g, stride, padding)
        out, d_image, d_kernel = exact(upsampled(image), kernel, g, 1, padding)
        return out, d_image.reshape(b, h, 2, w, 2, i).sum((2, 4)), d_kernel

    got = both_ways(operation, name, stride, padding)(*(jnp.asarray(a, dtype) for a in args))
    lengths = size**2 * i, scale**2 * size**2 * o, b * y * x
    for label, a, want, terms, length in zip(NAMES, got, of(*args), of(*map(np.abs, args)), lengths, strict=True):
        assert a.dtype == dtype, label
        # A transform spreads the rounding of one output over its neighbors.
        bound = terms if name in ("reference", "xla") else np.full_like(terms, terms.max())
        assert_within(label, a, want, GROWTH[name] * rounding(dtype, length + 8), bound)


@st.composite
def layouts(draw: st.DrawFn, operation: Operation, name: ImplementationName) -> Layout:
    """Layouts that ``name`` supports."""
    channels, out = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    batch, height, width = (draw(st.integers(1, n)) for n in (3, 9, 9))
    scale = 2 if operation == "upsample_conv" else 1
    if name in ("winograd", "polyphase"):
        rows = {"winograd": 4 // scale, "polyphase": 1}[name]
        return (batch, rows * draw(st.integers(1, 3)), width, channels), 3, out, 1, (1, 1)
    padding = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    sizes = [size for size in (1, 2, 3, 5) if size <= scale * min(height, width) + sum(padding)]
    stride = draw(st.integers(1, 3)) if scale == 1 else 1
    return (batch, height, width, channels), draw(st.sampled_from(sizes)), out, stride, padding
