from collections.abc import Iterator
from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.typing import DTypeLike
from jaxtyping import Array
from scipy.special import erfinv  # type: ignore[import-untyped]

from artifex.kernels import ImplementationName, linear_step, sample_keys
from artifex.kernels.linear_step import api, philox, threefry
from artifex.kernels.linear_step.pallas import pallas
from artifex.kernels.platform import Target, shaped
from tests.kernels.linear_steps import (
    check_clip,
    check_drawn_in_the_kernel,
    check_formula,
    check_narrow,
    check_scaled_noise,
    check_standard_normal,
    check_transforms,
    compiled,
    noise,
    normal,
)
from tests.kernels.lowering import Platform, lowered
from tests.kernels.stand_in import stand_in

pytestmark = pytest.mark.slow

IMPLEMENTATIONS: Final[tuple[ImplementationName, ...]] = ("reference", "xla", "pallas")
each_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
each_plain_implementation = pytest.mark.parametrize("implementation", ["reference", "xla"])
seeds = given(seed=st.integers(0, 2**32 - 1))
some = settings(max_examples=5, deadline=None)


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    """Runs the Pallas implementation here."""
    with stand_in(api.IMPLEMENTATIONS, "pallas", partial(pallas, target="interpret")):
        yield


@settings(max_examples=3, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    count=st.integers(1, 6),
    each=st.booleans(),
    size=st.sampled_from([1e-20, 1.0, 1e20]),
    seed=st.integers(0, 2**32 - 1),
)
@example(shape=(2, 300), count=2, each=True, size=1.0, seed=0)  # more than one block, and a part of one
def test_every_implementation_is_the_formula_forward_and_backward(
    shape: tuple[int, ...], count: int, each: bool, size: float, seed: int
) -> None:
    for implementation in IMPLEMENTATIONS:
        check_formula(implementation, shape, count, each, size, seed)


@each_implementation
@some
@seeds
def test_the_step_is_linear(implementation: ImplementationName, seed: int) -> None:
    x, y, w = normal(seed, 2, 3, 5), normal(seed + 1, 2, 3, 5), normal(seed + 2, 2, 2)
    a, b = (float(c) for c in np.random.default_rng(seed).normal(size=2))
    step = compiled(implementation)
    mixed = step((a * x + b * y, y), w)
    apart = a * step((x, y), w) + b * step((y, y), w)
    # (a x + b y, y) = a (x, y) + b (y, y) + (1 - a - b) (0, y)
    rest = (1 - a - b) * step((jnp.zeros_like(x), y), w)
    np.testing.assert_allclose(mixed, apart + rest, atol=1e-4)


@each_implementation
@some
@seeds
def test_one_weight_picks_one_term(implementation: ImplementationName, seed: int) -> None:
    terms = tuple(normal(seed + j, 2, 3, 5) for j in range(3))
    for j, term in enumerate(terms):
        np.testing.assert_array_equal(compiled(implementation)(terms, jnp.eye(3)[j]), term)


@each_implementation
def test_each_sample_has_its_own_weights(implementation: ImplementationName) -> None:
    terms = (normal(0, 3, 4), normal(1, 3, 4))
    weights = normal(2, 3, 2)
    out = compiled(implementation)(terms, weights)
    for i in range(3):
        alone = compiled(implementation)(tuple(x[i : i + 1] for x in terms), weights[i])
        np.testing.assert_allclose(out[i : i + 1], alone, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@each_implementation
def test_narrow_terms_are_summed_wide_and_given_back_narrow(
    implementation: ImplementationName, dtype: DTypeLike
) -> None:
    check_narrow(implementation, dtype)


@each_plain_implementation
def test_float64_stays_float64_wherever_it_stands(implementation: ImplementationName) -> None:
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(3, 2, 5))
        terms = [jnp.asarray(x[0], jnp.float32), jnp.asarray(x[1]), jnp.asarray(x[2])]
        weights = np.asarray([1e-9, 1.0, -1.0])
        out = linear_step(terms[1:], weights[1:], implementation=implementation)
        assert out.dtype == jnp.float64
        np.testing.assert_allclose(out, x[1] - x[2], rtol=1e-15)
        # The large ones cancel in float64; in float32 they would leave nothing of the first.
        close = [terms[0], terms[1], terms[1]]
        np.testing.assert_allclose(linear_step(close, weights, implementation=implementation), 1e-9 * x[0], rtol=1e-6)
        noise = linear_step(
            terms[1:], np.zeros(2), noise_scale=1.0, key=jax.random.key(0), implementation=implementation
        )
        assert noise.dtype == jnp.float64
        assert np.any(noise != noise.astype(jnp.float32).astype(jnp.float64))


# Noise


KEYS: Final = {
    "threefry": lambda: jax.random.key(7),
    "raw": lambda: jax.random.PRNGKey(7),
    "rbg": lambda: jax.random.key(7, impl="rbg"),
}
each_key = pytest.mark.parametrize("kind", KEYS)
each_draw = pytest.mark.parametrize(
    ("implementation", "kind"), [("reference", "threefry"), ("xla", "raw"), ("xla", "rbg")]
)


@each_draw
def test_noise_is_that_of_each_samples_key_bit_for_bit(implementation: ImplementationName, kind: str) -> None:
    key = KEYS[kind]()
    keys = sample_keys(key, 5)
    want = jnp.stack([jax.random.normal(keys[i], (7, 3)) for i in range(5)])
    np.testing.assert_array_equal(noise(implementation, keys, 5, 7, 3), want)
    np.testing.assert_array_equal(noise(implementation, key, 5, 7, 3), want)
    outside_jit = linear_step(
        [jnp.zeros((5, 7, 3))], jnp.zeros(1), noise_scale=1.0, key=key, implementation=implementation
    )
    np.testing.assert_array_equal(outside_jit, want)


@pytest.mark.parametrize("shape", [(2, 5, 3), (3, 300)])
def test_a_kernel_draws_the_noise_of_each_samples_key(shape: tuple[int, ...]) -> None:
    check_drawn_in_the_kernel("pallas", shape)


def test_threefry_is_jaxs_bit_for_bit() -> None:
    keys = jax.random.split(jax.random.key(3), 2)
    data = jax.random.key_data(keys)
    word = threefry.words(data[:, :1], data[:, 1:], jnp.broadcast_to(jnp.arange(999, dtype=jnp.uint32), (2, 999)))
    np.testing.assert_array_equal(word, jnp.stack([jax.random.bits(key, (999,)) for key in keys]))
    below = float(np.nextafter(np.float32(-1), np.float32(0)))
    uniform = [jax.random.uniform(key, (999,), minval=below, maxval=1.0) for key in keys]
    np.testing.assert_array_equal(threefry.uniform(word), jnp.stack(uniform))


def test_normal_numbers_are_exact_to_four_units_in_the_last_place() -> None:
    word = jnp.arange(2**23, dtype=jnp.uint32) << 9  # all that there are
    exact = np.sqrt(2) * erfinv(np.asarray(threefry.uniform(word), np.float64))
    units = np.abs(np.asarray(jax.jit(threefry.normal)(word)) - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert units.max() < 4.5


def test_philox_gives_the_published_words_and_normal_numbers() -> None:
    def words(counter: int, k0: int, k1: int) -> list[int]:
        return [int(w[0, 0]) for w in philox.words(*(jnp.full((1, 1), n, jnp.uint32) for n in (k0, k1, counter)))]

    # Random123's known answer for the counter and key of zeros
    assert words(0, 0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    check_standard_normal(np.asarray(noise("xla", jax.random.key(5), 4, 2**14, kind="philox"), np.float64))


def test_philox_draws_the_same_in_64_bits() -> None:
    plain = noise("reference", jax.random.key(5), 3, 5, kind="philox")
    with jax.enable_x64(True):
        np.testing.assert_array_equal(noise("reference", jax.random.key(5), 3, 5, kind="philox"), plain)


def test_philox_of_a_sample_is_its_keys() -> None:
    keys = sample_keys(jax.random.key(5), 4)
    whole = noise("reference", keys, 4, 7, kind="philox")
    np.testing.assert_array_equal(noise("reference", keys[2:], 2, 7, kind="philox"), whole[2:])
    assert len(np.unique(whole)) == 28


@each_key
def test_one_key_is_folded_with_each_samples_place(kind: str) -> None:
    key = KEYS[kind]()
    typed = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    for i, got in enumerate(sample_keys(key, 3)):
        assert got == jax.random.fold_in(typed, i)


@each_draw
def test_splitting_a_batch_changes_no_sample(implementation: ImplementationName, kind: str) -> None:
    key = KEYS[kind]()
    keys = sample_keys(key, 4)
    whole = np.asarray(noise(implementation, keys, 4, 4, 3))
    parts = [noise(implementation, keys[:2], 2, 4, 3), noise(implementation, keys[2:], 2, 4, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(noise(implementation, key, 2, 4, 3), whole[:2])


def test_raw_and_typed_keys_are_the_same_keys() -> None:
    raw, typed = jax.random.PRNGKey(3), jax.random.key(3)
    np.testing.assert_array_equal(noise("xla", raw, 4, 5), noise("xla", typed, 4, 5))
    np.testing.assert_array_equal(
        noise("xla", jax.random.split(raw, 4), 4, 5), noise("xla", jax.random.split(typed, 4), 4, 5)
    )


@each_draw
def test_noise_is_standard_normal_and_independent(implementation: ImplementationName, kind: str) -> None:
    check_standard_normal(np.asarray(noise(implementation, KEYS[kind](), 4, 2**14), np.float64))


@each_implementation
def test_noise_is_scaled_sample_by_sample_and_added_to_the_sum(implementation: ImplementationName) -> None:
    check_scaled_noise(implementation)


@each_implementation
def test_clip_holds_the_result_noise_and_all(implementation: ImplementationName) -> None:
    check_clip(implementation)


@pytest.mark.parametrize("implementation", ["xla", "pallas"])
def test_under_vmap_scan_and_checkpoint(implementation: ImplementationName) -> None:
    check_transforms(implementation)


@each_plain_implementation
def test_no_samples_give_no_samples(implementation: ImplementationName) -> None:
    assert noise(implementation, jax.random.key(0), 0, 3).shape == (0, 3)


def test_numbers_and_host_arrays_will_do() -> None:
    x = normal(0, 2, 3)
    out = linear_step((x, x), np.asarray([1.0, 2.0]), noise_scale=np.float64(0), key=jax.random.key(0))
    np.testing.assert_allclose(out, 3 * x, rtol=1e-6)


@pytest.mark.parametrize(("target", "machine", "call"), [("gpu", "cuda", "triton"), ("tpu", "tpu", "tpu_custom_call")])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_pallas_lowered_for_a_device_that_is_not_there(
    target: Target, machine: Platform, call: str, dtype: DTypeLike
) -> None:
    def step(x: Array, y: Array, weights: Array, scale: Array, words: Array) -> Array:
        keys = jax.random.wrap_key_data(words)
        out: Array = pallas((x, y), weights, scale, keys, 1.0, "key", target=target)
        return out

    shapes = [((3, 20, 7), dtype)] * 2 + [((3, 2), jnp.float32), ((3,), jnp.float32), ((3, 2), jnp.uint32)]
    (name,) = lowered(step, *(shaped(*x) for x in shapes), platform=machine)
    assert call in name
