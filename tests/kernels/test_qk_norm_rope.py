from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels import ImplementationName, qk_norm_rope
from artifex.kernels.platform import Target, shaped
from artifex.kernels.qk_norm_rope.pallas import pallas
from artifex.kernels.qk_norm_rope.reference import Norm, reference
from artifex.kernels.qk_norm_rope.xla import xla
from tests.kernels.agreement import assert_transforms
from tests.kernels.exact import HostArray
from tests.kernels.lowering import Platform, lowered
from tests.kernels.qk_norms import EPSILON, IMPLEMENTATIONS, NORMS, ODD, Implementation, check, inputs, layouts

pytestmark = pytest.mark.slow

each_implementation = pytest.mark.parametrize("name", IMPLEMENTATIONS)
# What all implementations but the plainest have code of their own for.
each_other = pytest.mark.parametrize("name", ["xla", "pallas"])
each_norm = pytest.mark.parametrize("norm", NORMS)
seeds = given(seed=st.integers(0, 2**32 - 1))
some = settings(max_examples=15, deadline=None)


@settings(max_examples=4, deadline=None)
@given(
    name=st.sampled_from(list(IMPLEMENTATIONS)),
    norm=st.sampled_from(NORMS),
    layout=layouts(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_implementation_is_the_formula_forward_and_backward(
    name: str, norm: Norm, layout: tuple[int, ...], seed: int
) -> None:
    check(name, norm, inputs(layout, seed))


@each_norm
@each_implementation
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2.0**-30, 2.0**-7, 2.0**7, 2.0**30]))
def test_heads_of_any_size(name: str, norm: Norm, seed: int, size: float) -> None:
    check(name, norm, inputs(ODD, seed, size))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@each_other
def test_narrow_dtypes_are_widened_inside(name: str, dtype: DTypeLike) -> None:
    check(name, "rms", inputs(ODD, 0, dtype=dtype), dtype)


@pytest.mark.parametrize("name", ["reference", "xla"])
def test_float64_stays_float64(name: str) -> None:
    with jax.enable_x64(True):
        check(name, "layer", inputs(ODD, 0, dtype=np.float64), np.float64)


@each_implementation
def test_large_float16_squares_do_not_overflow(name: str) -> None:
    x = np.where(np.arange(8) % 2, 3e4, -3e4).reshape(1, 1, 1, 8)  # its squares are 14000 times the largest float16
    still = jnp.ones((1, 1, 1, 4)), jnp.zeros((1, 1, 1, 4))
    for norm in NORMS:
        run = jax.jit(IMPLEMENTATIONS[name], static_argnums=(4, 5))
        y = run(jnp.asarray(x, jnp.float16), jnp.ones(8), *still, norm, EPSILON)
        np.testing.assert_array_equal(y, np.sign(x))


@each_other
def test_under_transformations(name: str) -> None:
    stacked = zip(*(inputs(ODD, seed)[:3] for seed in range(2)), strict=True)
    x, gain, angles = (jnp.asarray(np.stack(v), jnp.float32) for v in stacked)

    def f(x: Array, gain: Array, angles: Array) -> Array:
        angles = jax.lax.stop_gradient(angles)
        return IMPLEMENTATIONS[name](x, gain[0], jnp.cos(angles), jnp.sin(angles), "layer", EPSILON)

    assert_transforms(f, x, gain[:, None], angles, kernel=name == "pallas")


@pytest.mark.parametrize(("target", "machine"), [("gpu", "cuda"), ("tpu", "tpu")])
def test_pallas_lowered_for_a_device_that_is_not_there(target: Target, machine: Platform) -> None:
    def both_ways(x: Array, gain: Array, cos: Array, sin: Array) -> object:
        out, vjp = jax.vjp(lambda *args: pallas(*args, cos, sin, "layer", EPSILON, target=target), x, gain)
        return out, vjp(out)

    for t, h, a, n in ((20, 16, 2, 18), (5, 3, 1, 3)):
        x, turns = shaped((2, t, h, 2 * a * n), jnp.bfloat16), shaped((1, t, a, n), jnp.float32)
        assert len(lowered(both_ways, x, shaped((2 * a * n,), jnp.float32), turns, turns, platform=machine)) == 2


# What must hold of any rotary embedding, seen from outside

T: Final = 6


@cache
def outside(name: ImplementationName, norm: Norm = "rms") -> Callable[..., tuple[Array, Array]]:
    def rotate(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
        return qk_norm_rope(q, k, positions, norm=norm, theta=100.0, implementation=name)

    return jax.jit(rotate)


def heads(seed: int, d: int = 8) -> tuple[Array, Array]:
    q, k = np.random.default_rng(seed).normal(size=(2, 2, T, 3, d))
    return jnp.asarray(q, jnp.float32), jnp.asarray(k, jnp.float32)


named = pytest.mark.parametrize("name", ["reference", "xla"])


@each_norm
@named
@some
@seeds
def test_a_head_keeps_the_length_its_norm_gives_it(name: ImplementationName, norm: Norm, seed: int) -> None:
    q, k = heads(seed)
    positions = jnp.asarray(np.random.default_rng(seed).normal(size=(2, T, 2)) * 50, jnp.float32)
    for x in outside(name, norm)(q, k, positions):
        np.testing.assert_allclose(np.sum(np.asarray(x, np.float64) ** 2, -1), np.full((2, T, 3), 8.0), rtol=1e-4)


@named
@some
@seeds
def test_position_zero_is_the_norm_alone(name: ImplementationName, seed: int) -> None:
    q, k = heads(seed)
    still = outside(name)(q, k, jnp.zeros((T, 1), jnp.int32))
    for x, y in zip((q, k), still, strict=True):
        normal = np.asarray(x) / np.sqrt(np.mean(np.asarray(x) ** 2, -1, keepdims=True))
        np.testing.assert_allclose(y, normal, rtol=1e-4, atol=1e-6)


def scores(pair: tuple[Array, Array]) -> HostArray:
    q, k = (np.asarray(x, np.float64) for x in pair)
    return np.asarray(np.einsum("bthd,bshd->bhts", q, k))


@pytest.mark.parametrize("axes", [1, 2])
@named
@some
@seeds
def test_scores_depend_on_differences_of_positions_alone(name: ImplementationName, axes: int, seed: int) -> None:
    q, k = heads(seed)
    rng = np.random.default_rng(seed)
    positions, move = rng.integers(0, 30, (T, axes)), rng.integers(-30, 30, axes)
    here = outside(name)(q, k, jnp.asarray(positions))
    there = outside(name)(q, k, jnp.asarray(positions + move))
    np.testing.assert_allclose(scores(there), scores(here), atol=2e-4)


@named
@some
@seeds
def test_two_axes_are_each_half_of_a_head_with_one(name: ImplementationName, seed: int) -> None:
    q, k = heads(seed)
    # Each half with a root mean square of 1 of its own, so that the norm of the whole is the norm of the halves.
    q, k = (x.reshape(2, T, 6, 4) for x in (q, k))
    q, k = ((x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True))).reshape(2, T, 3, 8) for x in (q, k))
    positions = jnp.asarray(np.random.default_rng(seed).integers(0, 30, (T, 2)))
    both = outside(name)(q, k, positions)
    for half in range(2):
        part = np.s_[..., 4 * half : 4 * half + 4]
        alone = outside(name)(q[part], k[part], positions[:, half : half + 1])
        for got, want in zip(alone, both, strict=True):
            np.testing.assert_allclose(got, want[part], atol=2e-5)


def test_turns_are_those_of_the_paper() -> None:
    q = jnp.asarray(np.eye(8)[:, None, None], jnp.float32)
    y, _ = qk_norm_rope(q, q, jnp.full((1, 1), 5), theta=16.0)
    for i in range(4):  # of unit vector i the root mean square is 8 ** -0.5
        angle = 5 * 16.0 ** (-2 * i / 8)
        want = np.zeros(8)
        want[i], want[i + 4] = np.cos(angle), np.sin(angle)
        np.testing.assert_allclose(y[i, 0, 0], want * np.sqrt(8), atol=1e-4)


def test_positions_a_sample_gains_and_defaults_reach_the_implementation() -> None:
    q, k = heads(0)
    k = k[:, :, :2]
    rng = np.random.default_rng(0)
    positions = jnp.asarray(rng.integers(0, 9, (2, T, 2)))
    q_gain, k_gain = jnp.asarray(rng.normal(size=(2, 8)), jnp.float32)
    choices: Sequence[tuple[ImplementationName | None, Implementation]] = (
        ("reference", reference),
        ("xla", xla),
        (None, xla),
    )
    for name, implementation in choices:
        run = partial(qk_norm_rope, q, k, positions, norm="layer", epsilon=0.1, implementation=name)
        frequencies = 1e4 ** (-jnp.arange(2.0) / 2)
        angles = positions[..., None] * frequencies
        turns = jnp.cos(angles), jnp.sin(angles)
        for got, x, gain in zip(run(q_gain=q_gain, k_gain=k_gain), (q, k), (q_gain, k_gain), strict=True):
            np.testing.assert_allclose(got, implementation(x, gain, *turns, "layer", 0.1), rtol=1e-6)
        for got, x in zip(run(), (q, k), strict=True):
            np.testing.assert_allclose(got, implementation(x, jnp.ones(8), *turns, "layer", 0.1), rtol=1e-6)


def test_positions_get_no_gradient() -> None:
    q, k = heads(0)
    slope = jax.grad(lambda p: jnp.sum(jnp.sin(qk_norm_rope(q, k, p)[0])))(jnp.ones((T, 1)))
    np.testing.assert_array_equal(slope, np.zeros((T, 1)))


GOOD: Final = {"q": (2, 3, 4, 8), "k": (2, 3, 4, 8), "positions": (3, 2), "q_gain": (8,), "k_gain": (8,)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": (3, 4, 8)}, r"q must be \(batch, tokens, heads, head_dim\), got shape \(3, 4, 8\)"),
        ({"k": (2, 3, 0, 8)}, r"k must have no empty axis, got shape \(2, 3, 0, 8\)"),
        ({"k": (2, 5, 4, 8)}, r"k must agree with q in batch, tokens and head_dim, got q .* and k \(2, 5, 4, 8\)"),
        ({"k": (2, 3, 4, 6)}, "k must agree with q in batch"),
        ({"positions": (3,)}, r"positions must be \(tokens, axes\) or \(batch, tokens, axes\), got shape \(3,\)"),
        ({"positions": (4, 2)}, r"positions must be \(3, 2\) or \(2, 3, 2\), got shape \(4, 2\)"),
        ({"positions": (1, 3, 2)}, r"positions must be \(3, 2\) or \(2, 3, 2\), got shape \(1, 3, 2\)"),
        ({"positions": (3, 3)}, "head_dim must be a multiple of 2 for each of the 3 axes of positions, got 8"),
        ({"q_gain": (4,)}, r"q_gain must be \(head_dim,\) = \(8,\), got shape \(4,\)"),
        ({"k_gain": (4, 8)}, r"k_gain must be \(head_dim,\) = \(8,\), got shape \(4, 8\)"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_shapes_that_do_not_fit(change: dict[str, tuple[int, ...]], message: str) -> None:
    v = {name: jnp.zeros(shape) for name, shape in {**GOOD, **change}.items()}
    with pytest.raises(ValueError, match=message):
        qk_norm_rope(v["q"], v["k"], v["positions"], q_gain=v["q_gain"], k_gain=v["k_gain"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": jnp.int32}, "q must be of dtype float16, .* or float64, got int32"),
        ({"k": jnp.bfloat16}, "q and k must be of one dtype, got float32 and bfloat16"),
        ({"k_gain": jnp.int32}, "k_gain must be of dtype .*, got int32"),
        ({"positions": jnp.bool_}, "positions must be of an integer or floating dtype, got bool"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_dtypes_that_do_not_fit(change: dict[str, DTypeLike], message: str) -> None:
    v = {name: jnp.zeros(shape, change.get(name, jnp.float32)) for name, shape in GOOD.items()}
    with pytest.raises(ValueError, match=message):
        qk_norm_rope(v["q"], v["k"], v["positions"], q_gain=v["q_gain"], k_gain=v["k_gain"])


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "batch"}, "norm must be 'rms' or 'layer', got 'batch'"),
        ({"theta": 0.0}, "theta must be positive and finite, got 0.0"),
        ({"epsilon": -1.0}, "epsilon must be positive and finite, got -1.0"),
    ],
)
def test_settings_out_of_range(change: dict[str, Any], message: str) -> None:
    v = {name: jnp.zeros(shape) for name, shape in GOOD.items()}
    with pytest.raises(ValueError, match=message):
        qk_norm_rope(v["q"], v["k"], v["positions"], **change)
