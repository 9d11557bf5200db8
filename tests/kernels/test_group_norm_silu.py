from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels import ImplementationName, group_norm_silu
from artifex.kernels.group_norm_silu.pallas import pallas
from artifex.kernels.group_norm_silu.reference import reference
from artifex.kernels.group_norm_silu.xla import xla
from artifex.kernels.platform import Target, shaped
from tests.kernels.agreement import assert_transforms
from tests.kernels.group_norms import (
    EPSILON,
    IMPLEMENTATIONS,
    LONE,
    ODD,
    Implementation,
    Shape,
    arrays,
    both_ways,
    check,
    check_large_mean,
    compiled,
    inputs,
    layouts,
)
from tests.kernels.lowering import Platform, lowered

pytestmark = pytest.mark.slow

each_implementation = pytest.mark.parametrize("name", IMPLEMENTATIONS)
# What all implementations but the plainest have code of their own for.
each_other = pytest.mark.parametrize("name", ["xla", "pallas"])
seeds = given(seed=st.integers(0, 2**32 - 1))
some = settings(max_examples=15, deadline=None)


@settings(max_examples=4, deadline=None)
@given(
    name=st.sampled_from(list(IMPLEMENTATIONS)), layout=layouts(), silu=st.booleans(), seed=st.integers(0, 2**32 - 1)
)
def test_every_implementation_is_the_formula_forward_and_backward(
    name: str, layout: tuple[Shape, int], silu: bool, seed: int
) -> None:
    check(name, *layout, inputs(layout[0], seed), silu=silu)


@each_implementation
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2.0**-30, 2.0**-7, 2.0**7, 2.0**30]))
def test_images_of_any_size(name: str, seed: int, size: float) -> None:
    check(name, ODD, 2, inputs(ODD, seed, size))


@each_implementation
def test_a_lone_sample(name: str) -> None:
    check(name, LONE, 3, inputs(LONE, 0))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@each_other
def test_narrow_dtypes_are_widened_inside(name: str, dtype: DTypeLike) -> None:
    check(name, ODD, 2, inputs(ODD, 0, dtype=dtype), dtype)


@pytest.mark.parametrize("name", ["reference", "xla"])
def test_float64_stays_float64(name: str) -> None:
    with jax.enable_x64(True):
        check(name, ODD, 2, inputs(ODD, 0, dtype=np.float64), np.float64)


@each_implementation
def test_large_float16_squares_do_not_overflow(name: str) -> None:
    x = np.where(np.arange(8) % 2, 3e4, -3e4).reshape(1, 4, 2)  # its squares are 14000 times the largest float16
    y = compiled(name, 1)(jnp.asarray(x, jnp.float16), jnp.ones((1, 2)), jnp.zeros((1, 2)))
    np.testing.assert_array_equal(y, np.sign(x))


# What must hold of any group norm


@each_implementation
@some
@seeds
def test_before_modulation_a_group_has_mean_0_and_variance_1(name: str, seed: int) -> None:
    x, weight, bias = arrays(seed)
    y = compiled(name)(x, jnp.ones_like(weight), jnp.zeros_like(bias))
    grouped = np.asarray(y, np.float64).reshape(2, 15, 2, 3)
    np.testing.assert_allclose(grouped.mean((1, 3)), np.zeros((2, 2)), atol=1e-5)
    np.testing.assert_allclose(grouped.var((1, 3)), np.ones((2, 2)), rtol=1e-4)


@each_implementation
@some
@seeds
def test_an_affine_change_of_a_group_does_not_matter(name: str, seed: int) -> None:
    x, weight, bias = arrays(seed)
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.5, 2.0, (2, 1, 2)), rng.normal(size=(2, 1, 2))
    moved = jnp.asarray(np.repeat(a, 3, -1) * np.asarray(x) + np.repeat(b, 3, -1), jnp.float32)
    y, same = compiled(name, silu=True)(x, weight, bias), compiled(name, silu=True)(moved, weight, bias)
    np.testing.assert_allclose(same, y, atol=1e-4)


@each_implementation
@some
@seeds
def test_groups_and_samples_see_nothing_of_each_other(name: str, seed: int) -> None:
    x, weight, bias = arrays(seed)
    y = compiled(name)(x, weight, bias)
    for i in range(2):
        for group in (slice(0, 3), slice(3, 6)):
            part = x[i : i + 1, :, group], weight[i : i + 1, group], bias[i : i + 1, group]
            np.testing.assert_allclose(compiled(name, 1)(*part), y[i : i + 1, :, group], atol=1e-5)


@each_implementation
@some
@seeds
def test_order_of_places_is_kept(name: str, seed: int) -> None:
    x, weight, bias = arrays(seed)
    order = np.random.default_rng(seed).permutation(ODD[1])
    y, moved = compiled(name)(x, weight, bias), compiled(name)(x[:, order], weight, bias)
    np.testing.assert_allclose(moved, y[:, order], atol=1e-5)


@each_implementation
def test_silu_at_both_ends(name: str) -> None:
    x, weight, _ = arrays(0)
    for u, want in ((100.0, 100.0), (0.0, 0.0), (-100.0, 0.0), (1.0, 1 / (1 + np.exp(-1)))):
        bias = jnp.full_like(weight, u)
        y, d_x, *_ = both_ways(name, 2, True)(x, jnp.zeros_like(weight), bias, jnp.ones_like(x))
        np.testing.assert_allclose(y, np.full(ODD, want), rtol=1e-6, atol=1e-30)
        np.testing.assert_array_equal(d_x, np.zeros(ODD))


@each_other
def test_under_transformations(name: str) -> None:
    def f(x: Array, weight: Array, bias: Array) -> Array:
        return IMPLEMENTATIONS[name](x, weight, bias, 2, EPSILON, True)

    assert_transforms(f, *(jnp.stack(v) for v in zip(*map(arrays, range(2)), strict=True)), kernel=name == "pallas")


@pytest.mark.parametrize("name", ["reference", "xla"])
def test_forward_mode_is_the_transpose_of_reverse_mode(name: str) -> None:
    args = arrays(2)
    tangents = [jnp.asarray(v, jnp.float32) for v in inputs(ODD, 4)[:3]]
    cotangent = jnp.asarray(inputs(ODD, 5)[0], jnp.float32)

    @jax.jit
    def run() -> tuple[Array, tuple[Array, ...]]:
        f = partial(IMPLEMENTATIONS[name], groups=2, epsilon=EPSILON, silu=True)
        return jax.jvp(f, args, tangents)[1], jax.vjp(f, *args)[1](cotangent)

    moved, back = run()
    there = sum(float(np.vdot(a, b)) for a, b in zip(back, tangents, strict=True))
    np.testing.assert_allclose(there, float(np.vdot(cotangent, moved)), rtol=1e-4)


def test_a_large_mean_does_not_swallow_the_variance() -> None:
    check_large_mean("pallas")


@pytest.mark.parametrize(("target", "machine"), [("gpu", "cuda"), ("tpu", "tpu")])
def test_pallas_lowered_for_a_device_that_is_not_there(target: Target, machine: Platform) -> None:
    def both_ways(x: Array, weight: Array, bias: Array) -> object:
        out, vjp = jax.vjp(lambda *args: pallas(*args, 2, EPSILON, True, target=target), x, weight, bias)
        return out, vjp(out)

    for b, p, c in ((2, 70, 320), ODD):
        x, v = shaped((b, p, c), jnp.bfloat16), shaped((b, c), jnp.float32)
        assert len(lowered(both_ways, x, v, v, platform=machine)) == 4


@pytest.mark.parametrize("places", [(15,), (3, 5), (1, 5, 3)])
def test_arguments_reach_the_implementation(places: tuple[int, ...]) -> None:
    x, scale, shift = arrays(0)
    gamma, beta = arrays(1)[1]
    factor = 1 + scale
    choices: Sequence[tuple[ImplementationName | None, Implementation]] = (
        ("reference", reference),
        ("xla", xla),
        (None, xla),
    )
    for name, implementation in choices:
        image = x.reshape(2, *places, 6)
        both = partial(group_norm_silu, image, gamma, beta, groups=3, epsilon=0.1, implementation=name)
        want = implementation(image, gamma[None] * factor, beta[None] * factor + shift, 3, 0.1, True)
        np.testing.assert_array_equal(both(scale=scale, shift=shift), want)
        tile = jnp.broadcast_to(gamma, scale.shape), jnp.broadcast_to(beta, scale.shape)
        np.testing.assert_array_equal(both(silu=False), implementation(image, *tile, 3, 0.1, False))


GOOD: Final = {"x": (2, 3, 5, 4), "gamma": (4,), "beta": (4,), "scale": (2, 4), "shift": (2, 4)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 4)}, r"x must be \(batch, ..., channels\) with at least one spatial axis, got shape \(2, 4\)"),
        ({"x": (2, 0, 5, 4)}, r"x must have no empty axis, got shape \(2, 0, 5, 4\)"),
        ({"gamma": (1,)}, r"gamma must be \(channels,\) = \(4,\), got shape \(1,\)"),
        ({"beta": (2, 4)}, r"beta must be \(channels,\) = \(4,\), got shape \(2, 4\)"),
        ({"scale": (4,)}, r"scale must be \(batch, channels\) = \(2, 4\), got shape \(4,\)"),
        ({"shift": (1, 4)}, r"shift must be \(batch, channels\) = \(2, 4\), got shape \(1, 4\)"),
        ({"scale": None}, "scale and shift go together, got shift alone"),
        ({"shift": None}, "scale and shift go together, got scale alone"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_shapes_that_do_not_fit(change: dict[str, tuple[int, ...] | None], message: str) -> None:
    shapes = {**GOOD, **change}
    v = {name: jnp.zeros(shape) for name, shape in shapes.items() if shape is not None}
    with pytest.raises(ValueError, match=message):
        group_norm_silu(v["x"], v["gamma"], v["beta"], groups=2, scale=v.get("scale"), shift=v.get("shift"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": jnp.uint8}, "x must be of dtype float16, .* or float64, got uint8"),
        ({"gamma": jnp.int32}, "gamma must be of dtype .*, got int32"),
        ({"shift": jnp.complex64}, "shift must be of dtype .*, got complex64"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_dtypes_that_do_not_fit(change: dict[str, DTypeLike], message: str) -> None:
    v = {name: jnp.zeros(shape, change.get(name, jnp.float32)) for name, shape in GOOD.items()}
    with pytest.raises(ValueError, match=message):
        group_norm_silu(v["x"], v["gamma"], v["beta"], groups=2, scale=v["scale"], shift=v["shift"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 3}, "groups must be positive and divide the 4 channels, got 3"),
        ({"groups": 0}, "groups must be at least 1, got 0"),
        ({"epsilon": 0.0}, "epsilon must be positive and finite, got 0.0"),
    ],
)
def test_numbers_out_of_range(change: dict[str, Any], message: str) -> None:
    v = {name: jnp.zeros(shape) for name, shape in GOOD.items()}
    with pytest.raises(ValueError, match=message):
        group_norm_silu(v["x"], v["gamma"], v["beta"], **{"groups": 2, **change})
