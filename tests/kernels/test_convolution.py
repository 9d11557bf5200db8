"""Convolutions and their derivatives against float64 sums, and the layouts that gradients are computed in."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels import ImplementationName, UnsupportedKernelError, conv, upsample_conv
from artifex.kernels.convolution import upsample_nearest, vjp
from artifex.kernels.convolution.polyphase import polyphase
from artifex.kernels.convolution.winograd import winograd
from tests.kernels.agreement import assert_transforms
from tests.kernels.convolutions import EACH, Operation, check, exact, layouts

RNG = np.random.default_rng(0)
Conv = Callable[[Array, Array], Array]


each = pytest.mark.parametrize(("operation", "name"), EACH)


@pytest.mark.slow
@each
@settings(max_examples=6, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_every_implementation_is_the_formula_forward_and_backward(
    operation: Operation, name: ImplementationName, data: st.DataObject, seed: int
) -> None:
    check(operation, name, data.draw(layouts(operation, name)), seed)


@pytest.mark.parametrize("padding", [(2, 0), (3, 0), (3, 1), (0, 3), (2, 2)])
@pytest.mark.parametrize("operation", ["conv", "upsample_conv"])
def test_padding_wider_than_the_kernel(operation: Operation, padding: tuple[int, int]) -> None:
    """XLA's gradients of some of these are wrong: https://github.com/openxla/xla/issues/48713."""
    for size in (1, 2, 3):
        check(operation, "xla", ((1, 2, 2, 1), size, 2, 1, padding), 0)


@each
def test_float64_stays_float64(operation: Operation, name: ImplementationName) -> None:
    with jax.enable_x64(True):
        check(operation, name, ((2, 4, 5, 3), 3, 4, 1, (1, 1)), 0, np.float64)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("operation", ["conv", "upsample_conv"])
def test_the_reference_sums_narrow_dtypes_in_float32(operation: Operation, dtype: DTypeLike) -> None:
    check(operation, "reference", ((2, 4, 5, 3), 3, 4, 1, (1, 1)), 0, dtype)


@each
def test_under_transformations(operation: Operation, name: ImplementationName) -> None:
    w = jnp.asarray(RNG.normal(size=(3, 3, 2, 3)), jnp.float32)
    x = jnp.asarray(RNG.normal(size=(2, 2, 4, 5, 2)), jnp.float32)

    def f(x: Array) -> Array:
        run = conv if operation == "conv" else upsample_conv
        return run(x, w, padding=(1, 1), implementation=name)

    assert_transforms(f, x, kernel=False, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 2}, r"needs size 3, stride 1 and padding \(1, 1\), and got 3, 2 and \(1, 1\)"),
        ({"padding": (0, 1)}, r"needs size 3, .* and got 3, 1 and \(0, 1\)"),
        ({"size": 5}, "needs size 3, .* and got 5, 1 and"),
        ({"height": 6}, "it computes 4 rows at once, and there are 6"),
        ({"dtype": jnp.bfloat16}, "need float32 or float64, and x is bfloat16"),
        (
            {"name": "pallas"},
            r"conv has no 'pallas' implementation; expected one of \['reference', 'winograd', 'xla'\]",
        ),
    ],
)
def test_a_named_implementation_is_never_replaced(options: dict[str, Any], message: str) -> None:
    defaults = {"size": 3, "height": 8, "dtype": jnp.float32, "name": "winograd", "stride": 1, "padding": (1, 1)}
    case: dict[str, Any] = {**defaults, **options}
    x, w = (jnp.zeros(s, case["dtype"]) for s in ((1, case["height"], 8, 2), (case["size"], case["size"], 2, 2)))
    with pytest.raises(UnsupportedKernelError, match=message):
        conv(x, w, stride=case["stride"], padding=case["padding"], implementation=case["name"])


def test_upsampling_needs_half_as_many_rows_for_winograd() -> None:
    w = jnp.zeros((3, 3, 2, 2))
    assert upsample_conv(jnp.zeros((1, 2, 3, 2)), w, padding=(1, 1), implementation="winograd").shape == (1, 4, 6, 2)
    with pytest.raises(UnsupportedKernelError, match="it computes 4 rows at once, and there are 6"):
        upsample_conv(jnp.zeros((1, 3, 3, 2)), w, padding=(1, 1), implementation="winograd")


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("x", "w", "options", "message"),
    [
        ((4, 4, 2), (3, 3, 2, 2), {}, r"x must be \(batch, height, width, in\), got shape \(4, 4, 2\)"),
        ((1, 4, 4, 2), (3, 2, 2), {}, r"kernel must be \(size, size, in, out\), got shape \(3, 2, 2\)"),
        ((1, 0, 4, 2), (3, 3, 2, 2), {}, "x must have no empty axis"),
        ((1, 4, 4, 2), (3, 1, 2, 2), {}, r"kernel must be \(size, size, 2, out\), got shape \(3, 1, 2, 2\)"),
        ((1, 4, 4, 2), (3, 3, 3, 2), {}, r"kernel must be \(size, size, 2, out\), got shape \(3, 3, 3, 2\)"),
        ((1, 4, 4, 2), (7, 7, 2, 2), {"padding": (1, 1)}, "got 7x7 for an image of 4x4 padded by"),
        ((1, 4, 4, 2), (3, 3, 2, 2), {"padding": (-1, 0)}, "padding must be at least 0, got -1"),
        ((1, 4, 4, 2), (3, 3, 2, 2), {"stride": 0}, "stride must be at least 1, got 0"),
    ],
)
def test_arguments_that_do_not_fit(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        conv(jnp.zeros(x), jnp.zeros(w), **options)


def test_dtypes_that_do_not_fit() -> None:
    x = jnp.zeros((1, 4, 4, 2))
    with pytest.raises(ValueError, match="kernel must be of the dtype of x, float32, got bfloat16"):
        upsample_conv(x, jnp.zeros((3, 3, 2, 2), jnp.bfloat16))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_gradients_have_the_axes_that_xla_is_quick_at() -> None:
    """Also in a loop's body, where XLA leaves them as they are written."""
    x, w = jnp.ones((2, 4, 4, 3)), jnp.ones((3, 3, 3, 3))

    def step(w: Array, _: None) -> tuple[Array, None]:
        return w - jax.grad(lambda w: conv(conv(x, w, padding=(1, 1)), w, padding=(1, 1)).sum())(w), None

    text = jax.jit(lambda w: lax.scan(step, w, length=2)).lower(w).as_text()
    axes = re.findall(r"dim_numbers = (.*?), window", text)
    assert len(axes) == 4
    assert set(axes) == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
