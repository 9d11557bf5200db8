from collections.abc import Sequence
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels import ImplementationName, adaln
from artifex.kernels.adaln.pallas import pallas
from artifex.kernels.adaln.reference import reference
from artifex.kernels.adaln.xla import xla
from artifex.kernels.platform import Target, shaped
from tests.kernels.adalns import (
    EPSILON,
    IMPLEMENTATIONS,
    LONE,
    ODD,
    Implementation,
    Shape,
    arrays,
    check,
    compiled,
    inputs,
)
from tests.kernels.agreement import assert_transforms
from tests.kernels.lowering import Platform, lowered

pytestmark = pytest.mark.slow

each_implementation = pytest.mark.parametrize("name", IMPLEMENTATIONS)
# What all implementations but the plainest have code of their own for.
each_other = pytest.mark.parametrize("name", ["xla", "pallas"])
seeds = given(seed=st.integers(0, 2**32 - 1))
some = settings(max_examples=15, deadline=None)


@settings(max_examples=4, deadline=None)
@given(
    name=st.sampled_from(list(IMPLEMENTATIONS)),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_implementation_is_the_formula_forward_and_backward(name: str, shape: Shape, seed: int) -> None:
    check(name, shape, inputs(shape, seed))


@each_implementation
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2.0**-30, 2.0**-7, 2.0**7, 2.0**30]))
def test_tokens_of_any_size(name: str, seed: int, size: float) -> None:
    check(name, ODD, inputs(ODD, seed, size))


@each_implementation
def test_a_lone_sample(name: str) -> None:
    check(name, LONE, inputs(LONE, 0))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@each_other
def test_narrow_dtypes_are_widened_inside(name: str, dtype: DTypeLike) -> None:
    check(name, ODD, inputs(ODD, 0, dtype=dtype), dtype)


@pytest.mark.parametrize("name", ["reference", "xla"])
def test_float64_stays_float64(name: str) -> None:
    with jax.enable_x64(True):
        check(name, ODD, inputs(ODD, 0, dtype=np.float64), np.float64)


@each_implementation
def test_large_float16_squares_do_not_overflow(name: str) -> None:
    x = np.where(np.arange(8) % 2, 3e4, -3e4).reshape(1, 1, 8)  # its squares are 14000 times the largest float16
    zeros = jnp.zeros((1, 8))
    _, y = compiled(name)(jnp.asarray(x, jnp.float16), None, None, zeros, zeros)
    np.testing.assert_array_equal(y, np.sign(x))


# What must hold of any layer norm


@each_implementation
@some
@seeds
def test_before_modulation_a_token_has_mean_0_and_variance_1(name: str, seed: int) -> None:
    x, branch, gate, scale, _ = arrays(seed)
    zeros = jnp.zeros_like(scale)
    h, y = (np.asarray(v, np.float64) for v in compiled(name)(x, branch, gate, zeros, zeros))
    np.testing.assert_allclose(y.mean(-1), np.zeros(ODD[:2]), atol=1e-5)
    np.testing.assert_allclose(y.var(-1), h.var(-1) / (h.var(-1) + EPSILON), rtol=1e-4)


@each_implementation
@some
@seeds
def test_shift_and_scale_of_a_token_do_not_matter(name: str, seed: int) -> None:
    x, branch, gate, scale, shift = arrays(seed)
    rng = np.random.default_rng(seed)
    a = jnp.asarray(rng.uniform(0.5, 2.0, (*ODD[:2], 1)), jnp.float32)
    b = jnp.asarray(rng.normal(size=(*ODD[:2], 1)), jnp.float32)
    _, y = compiled(name)(x, branch, gate, scale, shift)
    _, same = compiled(name)(a * x + b, a * branch, gate, scale, shift)
    np.testing.assert_allclose(same, y, atol=2e-3, rtol=1e-4)


@each_implementation
@some
@seeds
def test_a_closed_gate_is_the_identity(name: str, seed: int) -> None:
    x, branch, gate, scale, shift = arrays(seed)
    h, y = compiled(name)(x, branch, jnp.zeros_like(gate), scale, shift)
    alone, y_too = compiled(name)(x, None, None, scale, shift)
    np.testing.assert_array_equal(h, x)
    np.testing.assert_array_equal(alone, x)
    np.testing.assert_allclose(y_too, y, rtol=1e-6, atol=1e-6)


@each_implementation
def test_each_sample_has_its_own_modulation_and_each_token_its_own_statistics(name: str) -> None:
    x, branch, gate, scale, shift = arrays(0)
    whole = compiled(name)(x, branch, gate, scale, shift)
    for b in range(ODD[0]):
        for t in range(ODD[1]):
            one = np.s_[b : b + 1, t : t + 1]
            row = np.s_[b : b + 1]
            part = compiled(name)(x[one], branch[one], gate[row], scale[row], shift[row])
            for got, want in zip(part, whole, strict=True):
                np.testing.assert_allclose(got, want[one], atol=1e-5)


@each_other
def test_under_transformations(name: str) -> None:
    def f(x: Array, branch: Array, gate: Array, scale: Array, shift: Array) -> Array:
        h, y = IMPLEMENTATIONS[name](x, branch, gate, scale, shift, EPSILON)
        return jnp.stack([h, y], axis=1)

    assert_transforms(f, *(jnp.stack(v) for v in zip(*map(arrays, range(2)), strict=True)), kernel=name == "pallas")


@each_other
def test_without_a_branch_gradients_flow_through_both_results(name: str) -> None:
    x, _, _, scale, shift = arrays(3)

    def f(x: Array, *branch: Array) -> Array:
        h, y = IMPLEMENTATIONS[name](x, *(branch or (None, None)), scale, shift, EPSILON)
        return jnp.sum(h**2) + jnp.sum(jnp.sin(y))

    nothing = jnp.zeros_like(x), jnp.zeros_like(scale)
    np.testing.assert_allclose(jax.grad(f)(x), jax.grad(f)(x, *nothing), atol=1e-5)


@pytest.mark.parametrize("name", ["reference", "xla"])
def test_forward_mode_is_the_transpose_of_reverse_mode(name: str) -> None:
    args = arrays(2)
    tangents = [jnp.asarray(v, jnp.float32) for v in inputs(ODD, 4)[:5]]
    cotangents = tuple(jnp.asarray(v, jnp.float32) for v in inputs(ODD, 5)[:2])

    @jax.jit
    def run() -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        def f(*args: Array) -> tuple[Array, Array]:
            return IMPLEMENTATIONS[name](*args, EPSILON)

        return jax.jvp(f, args, tangents)[1], jax.vjp(f, *args)[1](cotangents)

    moved, back = run()
    forth = sum(float(np.vdot(a, b)) for a, b in zip(cotangents, moved, strict=True))
    np.testing.assert_allclose(sum(float(np.vdot(a, b)) for a, b in zip(back, tangents, strict=True)), forth, rtol=1e-4)


@pytest.mark.parametrize(("target", "machine"), [("gpu", "cuda"), ("tpu", "tpu")])
def test_pallas_lowered_for_a_device_that_is_not_there(target: Target, machine: Platform) -> None:
    def both_ways(x: Array, branch: Array, gate: Array, scale: Array, shift: Array) -> object:
        out, vjp = jax.vjp(lambda *args: pallas(*args, EPSILON, target=target), x, branch, gate, scale, shift)
        return out, vjp(out)

    for b, t, c in ((2, 20, 1152), ODD):
        x, v = shaped((b, t, c), jnp.bfloat16), shaped((b, c), jnp.float32)
        assert len(lowered(both_ways, x, x, v, v, v, platform=machine)) == 2


def test_arguments_reach_the_implementation() -> None:
    x, branch, gate, scale, shift = arrays(0)
    choices: Sequence[tuple[ImplementationName | None, Implementation]] = (
        ("reference", reference),
        ("xla", xla),
        (None, xla),
    )
    for name, implementation in choices:
        want = implementation(x, branch, gate, scale, shift, 0.1)
        got = adaln(x, scale, shift, branch=branch, gate=gate, epsilon=0.1, implementation=name)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    narrow = adaln(x, scale.astype(jnp.bfloat16), shift)[1]
    np.testing.assert_array_equal(
        narrow, xla(x, None, None, scale.astype(jnp.bfloat16).astype(jnp.float32), shift, 1e-6)[1]
    )


GOOD: Final = {"x": (2, 3, 4), "scale": (2, 4), "shift": (2, 4), "branch": (2, 3, 4), "gate": (2, 4)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (3, 4)}, r"x must be \(batch, tokens, channels\), got shape \(3, 4\)"),
        ({"x": (2, 0, 4)}, r"x must have no empty axis, got shape \(2, 0, 4\)"),
        ({"scale": (1, 4)}, r"scale must be \(batch, channels\) = \(2, 4\), got shape \(1, 4\)"),
        ({"shift": (2, 1, 4)}, r"shift must be \(batch, channels\) = \(2, 4\), got shape \(2, 1, 4\)"),
        ({"gate": (4,)}, r"gate must be \(batch, channels\) = \(2, 4\), got shape \(4,\)"),
        ({"branch": (2, 3, 1)}, r"branch must be .* = \(2, 3, 4\), got shape \(2, 3, 1\)"),
        ({"branch": None}, "branch and gate go together, got gate alone"),
        ({"gate": None}, "branch and gate go together, got branch alone"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_shapes_that_do_not_fit(change: dict[str, tuple[int, ...] | None], message: str) -> None:
    shapes = {**GOOD, **change}
    v = {name: jnp.zeros(shape) for name, shape in shapes.items() if shape is not None}
    with pytest.raises(ValueError, match=message):
        adaln(v["x"], v["scale"], v["shift"], branch=v.get("branch"), gate=v.get("gate"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": jnp.int32, "branch": jnp.int32}, "x must be of dtype float16, .* or float64, got int32"),
        ({"scale": jnp.int8}, "scale must be of dtype .*, got int8"),
        ({"branch": jnp.bfloat16}, "branch must be of the dtype of x, float32, got bfloat16"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_dtypes_that_do_not_fit(change: dict[str, DTypeLike], message: str) -> None:
    v = {name: jnp.zeros(shape, change.get(name, jnp.float32)) for name, shape in GOOD.items()}
    with pytest.raises(ValueError, match=message):
        adaln(v["x"], v["scale"], v["shift"], branch=v["branch"], gate=v["gate"])


@pytest.mark.parametrize("epsilon", [0.0, -1e-6, float("nan"), float("inf")])
def test_epsilon_must_be_positive(epsilon: float) -> None:
    v = {name: jnp.zeros(shape) for name, shape in GOOD.items()}
    with pytest.raises(ValueError, match="epsilon must be positive and finite, got"):
        adaln(v["x"], v["scale"], v["shift"], epsilon=epsilon)
