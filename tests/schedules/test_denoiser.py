from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import (
    EDM,
    VP,
    Clipped,
    Denoiser,
    DynamicallyThresholded,
    EDMPreconditioned,
    Epsilon,
    Mapped,
    NetworkDenoiser,
    NoiseLevel,
    V,
)

Level = NoiseLevel[jax.Array]


def twice(x_t: jax.Array, level: Level) -> jax.Array:
    return 2 * x_t


AT = VP().at(jnp.asarray([0.2, 0.7]))


def network(parameters: jax.Array, x: jax.Array, t: jax.Array, cond: None) -> jax.Array:
    return parameters * x + t[:, None]


def test_network_denoiser_reads_its_prediction() -> None:
    x = jnp.ones((2, 3))
    got = NetworkDenoiser(network, V(), jnp.asarray(0.5))(x, AT)
    np.testing.assert_allclose(got, V().to_x0(0.5 * x + AT.t[:, None], x, AT), rtol=1e-6)


def test_network_denoiser_scales_the_input_of_f() -> None:
    f = EDMPreconditioned(0.5)
    at = EDM().at(jnp.asarray([0.1, 10.0]))
    x = jnp.ones((2, 3))
    out = 0.5 * f.c_in(at)[:, None] * x + f.c_noise(at)[:, None]
    np.testing.assert_allclose(NetworkDenoiser(network, f, jnp.asarray(0.5))(x, at), f.to_x0(out, x, at), rtol=1e-6)


def test_a_network_of_another_shape_is_an_error() -> None:
    denoise: NetworkDenoiser[None, None] = NetworkDenoiser(lambda p, x, t, c: x[:, :1], Epsilon(), None)
    with pytest.raises(ValueError, match=r"output of its input's shape \(2, 3\), got \(2, 1\)"):
        denoise(jnp.ones((2, 3)), AT)


def test_clipped() -> None:
    x = jnp.asarray([[-3.0, 0.1, 0.4]])
    np.testing.assert_allclose(Clipped(twice)(x, AT), [[-1, 0.2, 0.8]])
    np.testing.assert_allclose(Clipped(twice, 0.5)(x, AT), [[-0.5, 0.2, 0.5]])


@pytest.mark.slow
def test_dynamic_thresholding() -> None:
    x = jnp.concatenate([jnp.linspace(-2, 2, 101)[None] / 2, jnp.linspace(-0.5, 0.5, 101)[None] / 2])
    got = np.asarray(DynamicallyThresholded(twice, 0.9)(x, AT))
    wide, narrow = 2 * np.asarray(x, np.float64)
    s = np.quantile(np.abs(wide), 0.9)
    np.testing.assert_allclose(got[0], np.clip(wide, -s, s) / s, rtol=1e-5, atol=1e-7)
    # inside of the range nothing is changed
    np.testing.assert_allclose(got[1], narrow, rtol=1e-6)


@pytest.mark.slow
def test_dynamic_thresholding_at_its_bounds() -> None:
    x = 10 * jax.random.normal(jax.random.key(0), (2, 4, 5))
    got = np.asarray(DynamicallyThresholded(twice, 0.9, limit=1.5, ceiling=1.5)(x, AT))
    np.testing.assert_allclose(got, np.clip(2 * np.asarray(x), -1.5, 1.5), rtol=1e-6)
    got = np.asarray(DynamicallyThresholded(twice, 1.0, limit=3.0)(x, AT))
    np.testing.assert_allclose(np.max(np.abs(got), axis=(1, 2)), 3, rtol=1e-6)


@pytest.mark.slow
def test_a_sample_does_not_depend_on_its_batch() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 4, 5))
    denoise = jax.jit(DynamicallyThresholded(twice, 0.8))
    alone = denoise(x[1:], jax.tree.map(lambda v: v[1:], AT))
    np.testing.assert_allclose(denoise(x, AT)[1:], alone, rtol=1e-6)


@pytest.mark.slow
def test_half_precision_stays() -> None:
    x = jnp.ones((2, 7), jnp.bfloat16)
    assert DynamicallyThresholded(twice)(x, AT).dtype == jnp.bfloat16


def test_mapped() -> None:
    x = jnp.asarray([[-3.0, 0.1, 0.4]])
    np.testing.assert_allclose(Mapped(twice, jnp.tanh)(x, AT), jnp.tanh(2 * x))
    shift = jax.tree_util.Partial(jnp.add, jnp.asarray(1.0))  # type: ignore[no-untyped-call]
    assert len(jax.tree.leaves(Mapped(twice, shift))) == 1
    with pytest.raises(ValueError, match=r"function must keep the shape \(1, 3\), got \(1,\)"):
        Mapped(twice, lambda x0: x0[:, 0])(x, AT)


@pytest.mark.slow
@pytest.mark.parametrize("denoise", [Clipped(twice), DynamicallyThresholded(twice), Mapped(twice, jnp.tanh)])
def test_denoisers_pass_through_jit(denoise: Denoiser) -> None:
    x = jnp.linspace(-1, 1, 6).reshape(2, 3)
    np.testing.assert_allclose(jax.jit(lambda d, x: d(x, AT))(denoise, x), denoise(x, AT), rtol=1e-6)
    assert isinstance(denoise, Denoiser)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clipped(twice, 0.0), r"limit must be positive and finite, got 0\.0"),
        (lambda: DynamicallyThresholded(twice, 0.0), r"quantile must be in \(0, 1\], got 0\.0"),
        (lambda: DynamicallyThresholded(twice, limit=2.0, ceiling=1.0), r"at most ceiling, got 2\.0 and 1\.0"),
    ],
)
def test_bad_settings(make: Callable[[], Denoiser], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
