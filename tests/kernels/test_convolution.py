"""The convolution and its derivatives, to float64 sums over kernel places, and in what its axes were ordered for."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jaxtyping import Array

from artifex.kernels import conv
from artifex.kernels.convolution import upsample_nearest, vjp
from artifex.kernels.convolution.polyphase import polyphase
from artifex.kernels.convolution.winograd import winograd

RNG = np.random.default_rng(0)
HostArray = np.ndarray
Conv = Callable[[Array, Array], Array]


def exact(
    x: HostArray, w: HostArray, g: HostArray, stride: int, padding: tuple[int, int]
) -> tuple[HostArray, HostArray, HostArray]:
    """``y``, and the gradients of ``sum(g y)`` by ``x`` and ``w``, in float64: one shift of the image at a time."""
    x, w, g = (a.astype(np.float64) for a in (x, w, g))
    padded = np.pad(x, ((0, 0), padding, padding, (0, 0)))
    y, d_padded, d_w = np.zeros(g.shape), np.zeros(padded.shape), np.zeros(w.shape)
    rows, columns = ((n - 1) * stride + 1 for n in g.shape[1:3])
    for u, v in np.ndindex(w.shape[:2]):
        places = np.s_[:, u : u + rows : stride, v : v + columns : stride]
        y += padded[places] @ w[u, v]
        d_padded[places] += g @ w[u, v].T
        d_w[u, v] = np.einsum("bijc,bijo->co", padded[places], g)
    before = padding[0]
    return y, d_padded[:, before : before + x.shape[1], before : before + x.shape[2]], d_w


@pytest.mark.parametrize(
    ("size", "stride", "padding", "height", "width", "numbers"),
    [
        (3, 1, (1, 1), 8, 4, 60),  # four parts of two rows
        (3, 1, (1, 1), 6, 5, 100),  # two parts
        (3, 2, (0, 1), 8, 6, 60),  # two parts, padded after, whose last place is read by none
        (3, 2, (1, 1), 5, 7, 30),  # three parts of one row
        (5, 1, (2, 2), 4, 3, 1),  # every part reads edges on both sides
        (5, 1, (1, 3), 3, 4, 1000),  # more kernel than image, so images are mirrored; padded unevenly
        (1, 1, (0, 0), 4, 4, 1000),  # one part
    ],
)
def test_derivatives(
    size: int,
    stride: int,
    padding: tuple[int, int],
    height: int,
    width: int,
    numbers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vjp, "CHUNK", numbers)
    x, w = RNG.normal(size=(2, height, width, 3)), RNG.normal(size=(size, size, 3, 4))
    rows, columns = ((n + sum(padding) - size) // stride + 1 for n in (height, width))
    g, u, v = RNG.normal(size=(2, rows, columns, 4)), RNG.normal(size=x.shape), RNG.normal(size=w.shape)

    @jax.jit
    def run(x: Array, w: Array, g: Array, u: Array, v: Array) -> tuple[Array, tuple[Array, Array], Array]:
        def f(x: Array, w: Array) -> Array:
            return conv(x, w, stride=stride, padding=padding)

        y, pull = jax.vjp(f, x, w)
        return y, pull(g), jax.jvp(f, (x, w), (u, v))[1]

    y, (d_x, d_w), tangent = run(*(jnp.asarray(a, jnp.float32) for a in (x, w, g, u, v)))
    for got, expected in zip((y, d_x, d_w), exact(x, w, g, stride, padding), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)
    along = exact(u, w, g, stride, padding)[0] + exact(x, v, g, stride, padding)[0]
    np.testing.assert_allclose(tangent, along, atol=2e-5)


def plain(x: Array, w: Array) -> Array:
    return lax.conv_general_dilated(x, w, (1, 1), ((1, 1),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x, w: conv(x, w, padding=(1, 1)), plain),
        (winograd, plain),
        (polyphase, lambda x, w: plain(upsample_nearest(x), w)),
    ],
    ids=["xla", "winograd", "polyphase"],
)
def test_second_derivatives_and_batches(ours: Conv, theirs: Conv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vjp, "CHUNK", 40)
    x, w = (jnp.asarray(RNG.normal(size=s), jnp.float32) for s in ((3, 2, 4, 4, 2), (3, 3, 2, 3)))

    def curvature(f: Conv) -> Array:
        """Of a cubic, differentiated forward over backward, for each of three images."""

        def along(x: Array) -> Array:
            slope = jax.grad(lambda w: (f(x, w) ** 3).sum())
            tangent: Array = jax.jvp(slope, (w,), (w,))[1]
            return tangent

        values: Array = jax.jit(jax.vmap(along))(x)
        return values

    np.testing.assert_allclose(curvature(ours), curvature(theirs), rtol=1e-4, atol=1e-2)


def test_gradients_have_the_axes_that_xla_is_quick_at() -> None:
    """Also in a loop's body, where XLA leaves them as they are written."""
    x, w = jnp.ones((2, 4, 4, 3)), jnp.ones((3, 3, 3, 3))

    def step(w: Array, _: None) -> tuple[Array, None]:
        return w - jax.grad(lambda w: conv(conv(x, w, padding=(1, 1)), w, padding=(1, 1)).sum())(w), None

    text = jax.jit(lambda w: lax.scan(step, w, length=2)).lower(w).as_text()
    axes = re.findall(r"dim_numbers = (.*?), window", text)
    assert len(axes) == 4
    assert set(axes) == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
