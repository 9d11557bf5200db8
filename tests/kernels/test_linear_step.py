from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array

from artifex.kernels import Implementation, linear_step, sample_keys
from tests.kernels.exact import Host

BODIES: Final[tuple[Implementation, ...]] = ("reference", "xla")
each_body = pytest.mark.parametrize("body", BODIES)
seeds = given(seed=st.integers(0, 2**32 - 1))
some = settings(max_examples=15, deadline=None)


@cache
def compiled(body: Implementation) -> Callable[..., Array]:
    """``linear_step`` by one body."""

    def step(
        terms: Sequence[Array],
        weights: Array,
        noise_scale: Array | None = None,
        key: Array | None = None,
        clip: float | None = None,
    ) -> Array:
        return linear_step(terms, weights, noise_scale=noise_scale, key=key, clip=clip, implementation=body)

    return jax.jit(step, static_argnames="clip")


def normal(seed: int, *shape: int) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def exact_sum(terms: Sequence[Array], weights: Array) -> tuple[Host, Host]:
    """The weighted sum in float64, and the same of absolute values: what its rounding is proportional to."""
    stacked = np.stack([np.asarray(x, np.float64) for x in terms])
    w = np.broadcast_to(np.asarray(weights, np.float64), (stacked.shape[1], len(terms)))
    return np.einsum("bn,nb...->b...", w, stacked), np.einsum("bn,nb...->b...", np.abs(w), np.abs(stacked))


@cache
def both_ways(body: Implementation) -> Callable[..., tuple[Array, list[Array], Array]]:
    """Forward and vjp of one body in one program."""

    @jax.jit
    def run(terms: list[Array], weights: Array, cotangent: Array) -> tuple[Array, list[Array], Array]:
        out, vjp = jax.vjp(lambda t, w: linear_step(t, w, implementation=body), terms, weights)
        d_terms, d_weights = vjp(cotangent)
        return out, d_terms, d_weights

    return run


@settings(max_examples=8, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    count=st.integers(1, 6),
    each=st.booleans(),
    size=st.sampled_from([1e-20, 1.0, 1e20]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_body_is_the_formula_forward_and_backward(
    shape: tuple[int, ...], count: int, each: bool, size: float, seed: int
) -> None:
    terms = [normal(seed + j, *shape) * size for j in range(count)]
    weights = normal(seed + count, *((shape[0], count) if each else (count,)))
    cotangent = normal(seed + count + 1, *shape)
    want, sizes = exact_sum(terms, weights)
    eps, tiny = float(np.finfo(np.float32).eps), float(np.finfo(np.float32).tiny)
    for body in BODIES:
        out, d_terms, d_weights = both_ways(body)(terms, weights, cotangent)
        np.testing.assert_array_less(np.abs(out - want), eps * (count + 2) * sizes + tiny)
        w = np.broadcast_to(np.asarray(weights, np.float64), (shape[0], count))
        for j, got in enumerate(d_terms):
            d_term = np.einsum("b,b...->b...", w[:, j], np.asarray(cotangent, np.float64))
            np.testing.assert_allclose(np.asarray(got), d_term, rtol=4 * eps)
        products = np.stack([np.asarray(x, np.float64) * cotangent for x in terms], axis=-1)
        axes = tuple(range(1, len(shape))) if each else tuple(range(len(shape)))
        length = cotangent.size + 2
        np.testing.assert_array_less(
            np.abs(d_weights - products.sum(axes)),
            eps * length * np.abs(products).sum(axes) + tiny,
        )


@each_body
@some
@seeds
def test_the_step_is_linear(body: Implementation, seed: int) -> None:
    x, y, w = normal(seed, 2, 3, 5), normal(seed + 1, 2, 3, 5), normal(seed + 2, 2, 2)
    a, b = (float(c) for c in np.random.default_rng(seed).normal(size=2))
    step = compiled(body)
    mixed = step((a * x + b * y, y), w)
    apart = a * step((x, y), w) + b * step((y, y), w)
    # (a x + b y, y) = a (x, y) + b (y, y) + (1 - a - b) (0, y)
    rest = (1 - a - b) * step((jnp.zeros_like(x), y), w)
    np.testing.assert_allclose(mixed, apart + rest, atol=1e-4)


@each_body
@some
@seeds
def test_one_weight_picks_one_term(body: Implementation, seed: int) -> None:
    terms = tuple(normal(seed + j, 2, 3, 5) for j in range(3))
    for j, term in enumerate(terms):
        np.testing.assert_array_equal(compiled(body)(terms, jnp.eye(3)[j]), term)


@each_body
def test_each_sample_has_its_own_weights(body: Implementation) -> None:
    terms = (normal(0, 3, 4), normal(1, 3, 4))
    weights = normal(2, 3, 2)
    out = compiled(body)(terms, weights)
    for i in range(3):
        alone = compiled(body)(tuple(x[i : i + 1] for x in terms), weights[i])
        np.testing.assert_allclose(out[i : i + 1], alone, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@each_body
def test_narrow_terms_are_summed_wide_and_given_back_narrow(body: Implementation, dtype: DTypeLike) -> None:
    large, one = (jnp.asarray(np.full((2, 3), n), dtype) for n in (4096.0, 1.0))
    out = linear_step([large, one, large], jnp.asarray([1.0, 1.001, -1.0]), implementation=body)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, jnp.asarray(np.full((2, 3), 1.001), dtype))


@each_body
def test_float64_stays_float64_wherever_it_stands(body: Implementation) -> None:
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(3, 2, 5))
        terms = [jnp.asarray(x[0], jnp.float32), jnp.asarray(x[1]), jnp.asarray(x[2])]
        weights = np.asarray([1e-9, 1.0, -1.0])
        out = linear_step(terms[1:], weights[1:], implementation=body)
        assert out.dtype == jnp.float64
        np.testing.assert_allclose(out, x[1] - x[2], rtol=1e-15)
        # The large ones cancel in float64; in float32 they would leave nothing of the first.
        close = [terms[0], terms[1], terms[1]]
        np.testing.assert_allclose(linear_step(close, weights, implementation=body), 1e-9 * x[0], rtol=1e-6)
        noise = linear_step(terms[1:], np.zeros(2), noise_scale=1.0, key=jax.random.key(0), implementation=body)
        assert noise.dtype == jnp.float64
        assert np.any(noise != noise.astype(jnp.float32))


# Noise


def noise(body: Implementation, key: Array, *shape: int, scale: ArrayLike = 1.0) -> Array:
    """Noise alone."""
    return compiled(body)((jnp.asarray(np.zeros(shape, np.float32)),), jnp.zeros(1), jnp.asarray(scale), key)


KEYS: Final = {
    "threefry": lambda: jax.random.key(7),
    "raw": lambda: jax.random.PRNGKey(7),
    "rbg": lambda: jax.random.key(7, impl="rbg"),
}
each_key = pytest.mark.parametrize("kind", KEYS)
each_draw = pytest.mark.parametrize(("body", "kind"), [("reference", "threefry"), ("xla", "raw"), ("xla", "rbg")])


@each_draw
def test_noise_is_that_of_each_samples_key_bit_for_bit(body: Implementation, kind: str) -> None:
    key = KEYS[kind]()
    keys = sample_keys(key, 5)
    want = jnp.stack([jax.random.normal(keys[i], (7, 3)) for i in range(5)])
    np.testing.assert_array_equal(noise(body, keys, 5, 7, 3), want)
    np.testing.assert_array_equal(noise(body, key, 5, 7, 3), want)
    outside_jit = linear_step([jnp.zeros((5, 7, 3))], jnp.zeros(1), noise_scale=1.0, key=key, implementation=body)
    np.testing.assert_array_equal(outside_jit, want)


@each_key
def test_one_key_is_folded_with_each_samples_place(kind: str) -> None:
    key = KEYS[kind]()
    typed = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    for i, got in enumerate(sample_keys(key, 3)):
        assert got == jax.random.fold_in(typed, i)


@each_draw
def test_splitting_a_batch_changes_no_sample(body: Implementation, kind: str) -> None:
    key = KEYS[kind]()
    keys = sample_keys(key, 4)
    whole = np.asarray(noise(body, keys, 4, 4, 3))
    parts = [noise(body, keys[:2], 2, 4, 3), noise(body, keys[2:], 2, 4, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(noise(body, key, 2, 4, 3), whole[:2])


def test_raw_and_typed_keys_are_the_same_keys() -> None:
    raw, typed = jax.random.PRNGKey(3), jax.random.key(3)
    np.testing.assert_array_equal(noise("xla", raw, 4, 5), noise("xla", typed, 4, 5))
    np.testing.assert_array_equal(
        noise("xla", jax.random.split(raw, 4), 4, 5), noise("xla", jax.random.split(typed, 4), 4, 5)
    )


@each_draw
def test_noise_is_standard_normal_and_independent(body: Implementation, kind: str) -> None:
    b, n = 4, 2**14
    z = np.asarray(noise(body, KEYS[kind](), b, n), np.float64)
    # Five standard deviations of each statistic.
    np.testing.assert_allclose(z.mean(axis=1), np.zeros(b), atol=5 / np.sqrt(n))
    np.testing.assert_allclose(z.var(axis=1), np.ones(b), atol=5 * np.sqrt(2 / n))
    correlation = z @ z.T / n - np.diag(np.mean(z**2, axis=1))
    np.testing.assert_allclose(correlation, np.zeros((b, b)), atol=5 / np.sqrt(n))
    # Kolmogorov and Smirnov: sqrt(n) D stays below 2.5 with probability 1 - 7e-6.
    normal_cdf = np.asarray(jax.scipy.special.ndtr(jnp.sort(jnp.asarray(z.ravel(), jnp.float32))), np.float64)
    steps = np.arange(b * n + 1) / (b * n)
    distance = max(np.abs(normal_cdf - steps[1:]).max(), np.abs(normal_cdf - steps[:-1]).max())
    assert np.sqrt(b * n) * distance < 2.5


@each_body
def test_noise_is_scaled_sample_by_sample_and_added_to_the_sum(body: Implementation) -> None:
    key, x, scale = jax.random.key(1), normal(0, 3, 4, 2), np.asarray([0.0, 0.5, 3.0], np.float32)
    z = np.asarray(noise(body, key, 3, 4, 2))

    @jax.jit
    def step(scale: Array) -> tuple[Array, Array]:
        out, vjp = jax.vjp(lambda s: compiled(body)((x,), jnp.full(1, 2.0), s, key), scale)
        return out, vjp(jnp.ones_like(out))[0]

    out, d_scale = step(jnp.asarray(scale))
    np.testing.assert_allclose(out, 2 * np.asarray(x) + scale[:, None, None] * z, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(d_scale, z.sum((1, 2)), rtol=1e-5, atol=1e-5)


@each_body
def test_clip_holds_the_result_noise_and_all(body: Implementation) -> None:
    x, key = normal(0, 2, 64), jax.random.key(0)
    one = jnp.ones(1)
    free = np.asarray(compiled(body)((x,), one, jnp.ones(()), key))
    held = compiled(body)((x,), one, jnp.ones(()), key, clip=0.75)
    assert np.abs(free).max() > 0.75
    np.testing.assert_array_equal(held, np.clip(free, -0.75, 0.75))
    slope = jax.jit(jax.grad(lambda x: jnp.sum(compiled(body)((x,), one, clip=0.75))))(x)
    np.testing.assert_array_equal(slope, np.where(np.abs(x) < 0.75, 1.0, 0.0))


@each_body
def test_under_vmap_scan_and_checkpoint(body: Implementation) -> None:
    x, w = normal(0, 3, 2, 4), normal(1, 3, 2)
    keys = jax.random.split(jax.random.key(0), (3, 2))

    def loss(x: Array, w: Array, key: Array) -> tuple[Array, Array]:
        out = linear_step([x, x**2], w, noise_scale=0.5, key=key, implementation=body)
        return jnp.sum(out**2), out

    alone = jax.value_and_grad(loss, has_aux=True)
    recomputed = jax.value_and_grad(jax.checkpoint(loss), has_aux=True)

    @jax.jit
    def run() -> tuple[object, object, object]:
        _, walked = jax.lax.scan(lambda carry, part: (carry, recomputed(*part)), None, (x, w, keys))
        return jax.vmap(alone)(x, w, keys), walked, alone(x[1], w[1], keys[1])

    at_once, walked, one = run()
    for got in (at_once, walked):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5), got, one)


@each_body
def test_no_samples_give_no_samples(body: Implementation) -> None:
    assert noise(body, jax.random.key(0), 0, 3).shape == (0, 3)


def test_numbers_and_host_arrays_will_do() -> None:
    x = normal(0, 2, 3)
    out = linear_step((x, x), np.asarray([1.0, 2.0]), noise_scale=np.float64(0), key=jax.random.key(0))
    np.testing.assert_allclose(out, 3 * x, rtol=1e-6)


X: Final = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("terms", "weights", "options", "message"),
    [
        ([], [], {}, "terms must hold at least one array, got none"),
        ([X, X[:1]], [1.0, 1.0], {}, r"terms must be of one shape \(batch, ...\), got \[\(2, 3\), \(1, 3\)\]"),
        ([X[0, 0]], [1.0], {}, r"terms must be of one shape \(batch, ...\), got \[\(\)\]"),
        ([X, X.astype(int)], [1.0, 1.0], {}, r"terms\[1\] must be of dtype float16, .* or float64, got int32"),
        ([X, X], [1.0], {}, r"weights must be of shape \(2,\) or \(2, 2\), one column a term, got \(1,\)"),
        ([X], [[1.0], [1.0], [1.0]], {}, r"weights must be of shape \(1,\) or \(2, 1\), .*, got \(3, 1\)"),
        ([X], [1.0], {"noise_scale": 1.0}, "noise_scale and key go together, got no key"),
        ([X], [1.0], {"key": 0}, "noise_scale and key go together, got a key alone"),
        ([X], [1.0], {"noise_scale": [1.0, 1.0, 1.0], "key": 0}, r"noise_scale must be .* shape \(2,\), got \(3,\)"),
        ([X], [1.0], {"noise_scale": 1.0, "key": (0, 3)}, r"one key or 2 keys, one a sample, got keys of shape \(3,\)"),
        ([X], [1.0], {"clip": 0.0}, "clip must be positive or None, got 0.0"),
        ([X], [1.0], {"clip": float("nan")}, "clip must be positive or None, got nan"),
    ],
)
def test_bad_input(terms: list[npt.NDArray[Any]], weights: ArrayLike, options: dict[str, Any], message: str) -> None:
    if "key" in options:
        seed, *split = np.atleast_1d(options["key"])
        key = jax.random.key(seed)
        options = options | {"key": jax.random.split(key, tuple(split)) if split else key}
    if "noise_scale" in options:
        options = options | {"noise_scale": jnp.asarray(options["noise_scale"])}
    with pytest.raises(ValueError, match=message):
        linear_step([jnp.asarray(x) for x in terms], jnp.asarray(weights), **options)


@pytest.mark.parametrize("key", [np.zeros(2, np.float32), np.zeros((), np.uint32), np.zeros(2, np.int32)])
def test_a_key_must_be_a_key(key: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"key must come from jax.random.key or PRNGKey, got"):
        sample_keys(jnp.asarray(key), 2)
