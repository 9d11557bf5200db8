"""The polyphase convolution of an upsampled image against float64 sums, and the shapes that it is chosen for."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels import upsample_conv
from artifex.kernels.convolution.polyphase import polyphase

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
SHAPES = (2, 3, 5, 4), (3, 3, 4, 6), (2, 6, 10, 6)


def plain(x: Array, w: Array) -> Array:
    large = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
    return lax.conv_general_dilated(large, w, (1, 1), ((1, 1),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def test_derivatives_to_float64() -> None:
    """All of it in float64, so that only what is exact passes; then in the float32 that it is taken for."""
    x, w, g, u, v = (RNG.normal(size=s) for s in (*SHAPES, *SHAPES[:2]))

    def run(f: Callable[[Array, Array], Array], dtype: DTypeLike) -> list[np.ndarray]:
        def all_of(x: Array, w: Array, g: Array, u: Array, v: Array) -> tuple[Array, ...]:
            y, pull = jax.vjp(f, x, w)
            return y, *pull(g), jax.jvp(f, (x, w), (u, v))[1]

        return [np.asarray(a) for a in jax.jit(all_of)(*(jnp.asarray(a, dtype) for a in (x, w, g, u, v)))]

    with jax.enable_x64(True):
        ours, exact = run(polyphase, jnp.float64), run(plain, jnp.float64)
    assert exact[0].dtype == np.float64
    for a, b, c in zip(ours, exact, run(polyphase, jnp.float32), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)
        np.testing.assert_allclose(c, b, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "size", "out", "dtype", "padding", "expected"),
    [
        ((4, 4, 4, 256), 3, 256, jnp.float32, (1, 1), True),
        ((4, 4, 4, 256), 3, 256, jnp.bfloat16, (1, 1), False),
        ((4, 4, 4, 256), 3, 256, jnp.float32, (0, 2), False),
        ((4, 4, 4, 256), 1, 256, jnp.float32, (0, 0), False),
        ((4, 4, 4, 256), 5, 256, jnp.float32, (1, 1), False),
        ((4, 4, 4, 256), 3, 3, jnp.float32, (1, 1), False),  # few channels
        ((1, 4, 4, 256), 3, 256, jnp.float32, (1, 1), False),  # few places
        ((1, 256, 256, 128), 3, 128, jnp.float32, (1, 1), False),  # too much memory
    ],
)
def test_it_is_taken_where_it_pays(
    shape: tuple[int, ...], size: int, out: int, dtype: DTypeLike, padding: tuple[int, int], expected: bool
) -> None:
    x, w = (jax.eval_shape(lambda s=s: jnp.zeros(s, dtype)) for s in (shape, (size, size, shape[-1], out)))
    text = jax.jit(lambda x, w: upsample_conv(x, w, padding=padding)).lower(x, w).as_text()
    assert (text.count("stablehlo.convolution") == 0) == expected
    assert text.count("stablehlo.dot_general") == (4 if expected else 0)
