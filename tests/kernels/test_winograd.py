"""Winograd's convolution against float64 sums, and the shapes that it is chosen for."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels import conv
from artifex.kernels.convolution.winograd import A, B, G, winograd

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
HostArray = np.ndarray


def plain(x: Array, w: Array) -> Array:
    return lax.conv_general_dilated(x, w, (1, 1), ((1, 1),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def test_matrices_filter_any_row_exactly() -> None:
    """Four outputs of six numbers and three weights, in float64."""
    x, w = RNG.normal(size=(100, 6)), RNG.normal(size=(100, 3))
    expected = np.stack([(x[:, i : i + 3] * w).sum(1) for i in range(4)], 1)
    np.testing.assert_allclose(((x @ B.T) * (w @ G.T)) @ A.T, expected, atol=1e-13)


@pytest.fixture(scope="module")
def compared() -> list[tuple[HostArray, HostArray, HostArray]]:
    """Output, gradients and a tangent of Winograd, of the plain sum in float32, and in float64."""
    shapes = ((2, 8, 6, 48), (3, 3, 48, 40), (2, 8, 6, 40))
    x, w, g, u, v = (RNG.normal(size=s) for s in (*shapes, *shapes[:2]))

    def run(f: Callable[[Array, Array], Array], *arrays: Array) -> tuple[Array, Array, Array, Array]:
        x, w, g, u, v = arrays
        y, pull = jax.vjp(f, x, w)
        return y, *pull(g), jax.jvp(f, (x, w), (u, v))[1]

    single = [jnp.asarray(a, jnp.float32) for a in (x, w, g, u, v)]
    ours, theirs = (jax.jit(lambda *a, f=f: run(f, *a))(*single) for f in (winograd, plain))
    with jax.enable_x64(True):
        exact = jax.jit(lambda *a: run(plain, *a))(*(jnp.asarray(np.asarray(a), jnp.float64) for a in single))
    assert exact[0].dtype == jnp.float64
    ours, theirs, exact = ([np.asarray(a, np.float64) for a in run] for run in (ours, theirs, exact))
    return list(zip(ours, theirs, exact, strict=True))


@pytest.mark.parametrize(
    ("which", "length"),
    list(enumerate((9 * 48, 9 * 40, 2 * 8 * 6, 9 * 48))),
    ids=["output", "by image", "by kernel", "tangent"],
)
def test_derivatives_to_float64(
    compared: list[tuple[HostArray, HostArray, HostArray]], which: int, length: int
) -> None:
    """Off by no more than a plain sum, or by 2.3 times what such a sum loses on the narrowest of processors.

    A sum of n terms in a row, each rounded by 2^-24 / sqrt(3) of what was summed so far, is off by 2^-24 sqrt(n / 6) of
    its own size; on any processor at least four such rows of n / 4 terms run side by side.
    """
    ours, theirs, exact = compared[which]
    off, plainly = (np.sqrt(np.mean((a - exact) ** 2)) for a in (ours, theirs))
    assert 0 < off < max(3 * plainly, 2.3 * 2.0**-24 * np.sqrt(length / 4 / 6) * exact.std())
    np.testing.assert_allclose(ours, exact, atol=2e-5 * exact.std())


@pytest.mark.parametrize(
    ("shape", "out", "dtype", "expected"),
    [
        ((4, 32, 32, 128), 128, jnp.float32, True),
        ((4, 16, 16, 512), 256, jnp.float32, True),
        ((4, 16, 16, 512), 256, jnp.bfloat16, False),
        ((4, 16, 16, 512), 256, jnp.float64, False),
        ((4, 30, 32, 256), 256, jnp.float32, False),  # rows that are not fours
        ((4, 8, 8, 512), 512, jnp.float32, False),  # few places for its channels
        ((64, 4, 4, 32), 64, jnp.float32, True),
        ((4, 64, 64, 32), 32, jnp.float32, False),  # few channels
        ((64, 32, 32, 128), 3, jnp.float32, False),
        ((1, 16, 16, 64), 64, jnp.float32, False),  # not worth compiling
        ((1, 512, 512, 128), 128, jnp.float32, False),  # too much memory
    ],
)
def test_it_is_taken_where_it_pays(shape: tuple[int, ...], out: int, dtype: DTypeLike, expected: bool) -> None:
    with jax.enable_x64(True):
        x, w = (jax.eval_shape(lambda s=s: jnp.zeros(s, dtype)) for s in (shape, (3, 3, shape[-1], out)))
        text = jax.jit(lambda x, w: conv(x, w, padding=(1, 1))).lower(x, w).as_text()
    assert text.count("stablehlo.convolution") == (6 if expected else 1)


def test_other_convolutions_are_plain() -> None:
    x = jnp.zeros((4, 32, 32, 128))
    for size, stride, padding in ((1, 1, (0, 0)), (3, 2, (0, 1)), (3, 1, (0, 2)), (5, 1, (1, 1))):
        w = jnp.zeros((size, size, 128, 128))
        text = jax.jit(lambda x, w, s=stride, p=padding: conv(x, w, stride=s, padding=p)).lower(x, w).as_text()
        assert text.count("stablehlo.convolution") == 1


def test_gradients_have_the_axes_that_xla_is_quick_at() -> None:
    """Products of matrices for the kernel's gradient, plain axes and no kernel in reverse for the image's."""
    shapes = (4, 32, 32, 128), (3, 3, 128, 128)
    x, w = (jax.eval_shape(lambda s=s: jnp.zeros(s)) for s in shapes)
    text = jax.jit(jax.grad(lambda x, w: (conv(x, w, padding=(1, 1)) ** 2).sum(), (0, 1))).lower(x, w).as_text()
    assert text.count("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]") == text.count("stablehlo.convolution") == 12
    assert text.count("stablehlo.dot_general") == 6
