from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifex.schedules import (
    X0,
    Discrete,
    EDMPreconditioned,
    Epsilon,
    FlowVelocity,
    NoiseLevel,
    Prediction,
    Score,
    V,
    betas,
    convert,
    diffuse,
    to_x0_eps,
)
from artifex.schedules.arrays import HostArray

ALL: Final[dict[str, Prediction]] = {
    "Epsilon": Epsilon(),
    "X0": X0(),
    "V": V(),
    "Score": Score(),
    "FlowVelocity": FlowVelocity(),
    "EDMPreconditioned": EDMPreconditioned(0.5),
}
each = pytest.mark.parametrize("prediction", ALL.values(), ids=ALL.keys())
source_and_target = pytest.mark.parametrize(
    ("source", "target"), [(s, t) for s in ALL.values() for t in ALL.values()], ids=lambda p: type(p).__name__
)

LOGSNR: Final = np.linspace(-15, 15, 61)
"""A batch: one sample at every log-SNR."""

Level = NoiseLevel[jax.Array]


def preserving(logsnr: HostArray) -> Level:
    return level(np.exp(-0.5 * np.logaddexp(0, -logsnr)), np.exp(-0.5 * np.logaddexp(0, logsnr)))


def straight(logsnr: HostArray) -> Level:
    return level(np.exp(-np.logaddexp(0, -logsnr / 2)), np.exp(-np.logaddexp(0, logsnr / 2)))


def exploding(logsnr: HostArray) -> Level:
    return level(np.ones_like(logsnr), np.exp(-logsnr / 2))


def level(alpha: HostArray, sigma: HostArray) -> Level:
    return NoiseLevel(
        t=jnp.zeros(len(alpha)), alpha=jnp.asarray(alpha, jnp.float32), sigma=jnp.asarray(sigma, jnp.float32)
    )


Path = Callable[[HostArray], Level]
paths = pytest.mark.parametrize("path", [preserving, straight, exploding])


def data(seed: int = 0) -> tuple[jax.Array, jax.Array]:
    x0, eps = jax.random.normal(jax.random.key(seed), (2, len(LOGSNR), 32))
    return x0, eps


@cache
def sample(path: Path) -> tuple[Level, jax.Array, jax.Array, jax.Array]:
    x0, eps = data()
    at = path(LOGSNR)
    return at, x0, eps, diffuse(x0, eps, at)


def size(x: jax.Array) -> HostArray:
    """The largest number of each sample."""
    out: HostArray = np.max(np.abs(np.asarray(x, np.float64)), axis=1)
    return out


def lost(got: jax.Array, want: jax.Array) -> HostArray:
    """The largest difference in each sample."""
    out: HostArray = np.max(np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64)), axis=1)
    return out


@each
@paths
def test_target_states_its_formula(prediction: Prediction, path: Path) -> None:
    at, x0, eps, _ = sample(path)
    alpha, sigma = (np.asarray(v, np.float64)[:, None] for v in (at.alpha, at.sigma))
    x, e = np.asarray(x0, np.float64), np.asarray(eps, np.float64)
    q = np.sqrt(sigma**2 + (0.5 * alpha) ** 2)
    skip, out = alpha * 0.25 / q**2, sigma * 0.5 / q
    want = {
        "Epsilon": e,
        "X0": x,
        "V": alpha * e - sigma * x,
        "Score": -e / sigma,
        "FlowVelocity": e - x,
        "EDMPreconditioned": (x - skip * (alpha * x + sigma * e)) / out,
    }[type(prediction).__name__]
    np.testing.assert_allclose(prediction.target(x0, eps, at), want, rtol=2e-5, atol=2e-6)


@each
@paths
def test_clean_and_noise_read_a_target(prediction: Prediction, path: Path) -> None:
    """To the rounding of x_t, which is worth sigma/alpha in x0 and alpha/sigma in eps, and to no more."""
    at, x0, eps, x_t = sample(path)
    got_x0, got_eps = to_x0_eps(prediction.target(x0, eps, at), x_t, at, prediction)
    alpha, sigma = np.asarray(at.alpha), np.asarray(at.sigma)
    length = np.hypot(alpha, sigma)
    assert np.max(lost(got_x0, x0) * alpha / length) < 3e-6
    assert np.max(lost(got_eps, eps) * sigma / length) < 3e-6
    assert np.max(lost(diffuse(got_x0, got_eps, at), x_t) / length) < 3e-6


@dataclass(frozen=True)
class Trip:
    """An output, taken for another kind and back, in numbers of each sample."""

    there: HostArray
    lost_with_pair: HostArray
    lost: HostArray
    lost_x0: HostArray
    lost_eps: HostArray
    ratio: HostArray


def trip(source: Prediction, target: Prediction, path: Path) -> Trip:
    if (source, target, path) not in TRIPS:
        TRIPS[source, target, path] = travel(source, target, path)
    return TRIPS[source, target, path]


TRIPS: Final[dict[tuple[Prediction, Prediction, Path], Trip]] = {}


def travel(source: Prediction, target: Prediction, path: Path) -> Trip:
    at, x0, eps, x_t = sample(path)
    out = source.target(x0, eps, at)
    carried = to_x0_eps(out, x_t, at, source)
    there = convert(out, x_t, at, source, target)
    np.testing.assert_array_equal(there, target.target(*carried, at))
    back = convert(there, x_t, at, target, source)
    again = to_x0_eps(back, x_t, at, source)
    alpha, sigma = np.asarray(at.alpha, np.float64), np.asarray(at.sigma, np.float64)
    length = np.hypot(alpha, sigma)
    return Trip(
        there=size(there),
        lost_with_pair=lost(source.target(*carried, at), out) / size(out),
        lost=lost(back, out) / size(out),
        lost_x0=lost(again[0], carried[0]) * alpha / length,
        lost_eps=lost(again[1], carried[1]) * sigma / length,
        ratio=alpha / sigma,
    )


@source_and_target
@paths
def test_round_trips_through_the_pair(source: Prediction, target: Prediction, path: Path) -> None:
    """All 36, to 1e-5 of the output's own size at every log-SNR."""
    got = trip(source, target, path)
    assert np.max(got.lost_with_pair) < 1e-5
    assert np.all(np.isfinite(got.there))


FAITHFUL: Final = (V, FlowVelocity, EDMPreconditioned)
"""Outputs that hold x0 and eps at every log-SNR, so one float32 array of them is enough for the way back."""


@source_and_target
@paths
def test_round_trips_through_one_array(source: Prediction, target: Prediction, path: Path) -> None:
    """To 1e-5 of the output's own size where the array in between can hold it: in 23 of 36 at every log-SNR.

    A float32 x0 leaves alpha/sigma ulps of eps undetermined, and a float32 eps sigma/alpha ulps of x0: 1800 at a
    log-SNR of 15. There the way back is exact to the rounding of what stood in between, and to no less.
    """
    got = trip(source, target, path)
    noise_like = isinstance(source, Epsilon | Score) and isinstance(target, Epsilon | Score)
    if isinstance(target, FAITHFUL) or noise_like or source == target:
        bound = np.full_like(got.ratio, 1e-5)
    else:
        bound = 1e-6 * np.maximum(4, 1 + (got.ratio if isinstance(target, X0) else 1 / got.ratio))
    assert np.all(got.lost < bound)


@source_and_target
@paths
def test_round_trips_change_the_path_by_rounding_alone(source: Prediction, target: Prediction, path: Path) -> None:
    """All 36: alpha x0 and sigma eps, the two parts of x_t, come back to 1e-5 of its scale at every log-SNR."""
    got = trip(source, target, path)
    assert np.max(got.lost_x0) < 1e-5
    assert np.max(got.lost_eps) < 1e-5


@settings(max_examples=20, deadline=None)
@given(st.floats(-15, 15), st.integers(0, 1000))
def test_velocity_is_minus_f_on_unit_data(logsnr: float, seed: int) -> None:
    at = preserving(np.full(len(LOGSNR), logsnr))
    x0, eps = data(seed)
    np.testing.assert_allclose(
        V().target(x0, eps, at), -EDMPreconditioned(1.0).target(x0, eps, at), atol=2e-6, rtol=1e-6
    )


def test_edm_pins() -> None:
    f = EDMPreconditioned(0.5)
    at = exploding(np.full(1, -2 * np.log(0.5)))
    np.testing.assert_allclose(
        jnp.concatenate([f.c_skip(at), f.c_out(at), f.c_in(at), f.c_noise(at)]),
        [0.5, 0.3535533906, 1.414213562, -0.1732867951],
        rtol=1e-6,
    )


def test_preconditioned_input_has_unit_variance() -> None:
    """And so has its target, if the data's is 0.5: 1952 numbers determine a standard deviation to 0.016."""
    at = straight(np.full(len(LOGSNR), 1.0))
    x0, eps = data()
    model_input, model_time = EDMPreconditioned(0.5).inputs(diffuse(0.5 * x0, eps, at), at)
    assert np.std(np.asarray(model_input)) == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(model_time, -1 / 8, rtol=1e-5)
    assert np.std(np.asarray(EDMPreconditioned(0.5).target(0.5 * x0, eps, at))) == pytest.approx(1, abs=0.05)


@each
def test_other_inputs_are_as_they_are(prediction: Prediction) -> None:
    if isinstance(prediction, EDMPreconditioned):
        return
    at = NoiseLevel(t=jnp.asarray(7.0), alpha=jnp.asarray(0.6), sigma=jnp.asarray(0.8))
    x = jnp.ones((3, 2))
    model_input, model_time = prediction.inputs(x, at)
    assert model_input is x
    np.testing.assert_array_equal(model_time, [7, 7, 7])


@pytest.mark.slow
@source_and_target
@pytest.mark.parametrize("end", ["clean", "noise"])
def test_ends_give_no_nan(source: Prediction, target: Prediction, end: str) -> None:
    t = {"clean": -1.0, "noise": 999.0}[end]
    chain = Discrete(betas.rescale_zero_terminal_snr(betas.scaled_linear(1000)))
    at = chain.at(jnp.full(len(LOGSNR), t))
    x0, eps = data()
    x_t = diffuse(x0, eps, at)
    out = source.target(x0, eps, at)
    for values in (
        out,
        convert(out, x_t, at, source, target),
        *to_x0_eps(out, x_t, at, source),
        *source.inputs(x_t, at),
    ):
        assert np.all(np.isfinite(np.asarray(values)))


@pytest.mark.parametrize("prediction", [X0(), V(), FlowVelocity(), EDMPreconditioned()])
def test_pure_noise_still_says_what_the_data_is(prediction: Prediction) -> None:
    """To the rounding of ``FlowVelocity``'s difference, half an ulp of 4 to 8 there and back; the others are exact."""
    at = level(np.zeros(len(LOGSNR)), np.ones(len(LOGSNR)))
    x0, eps = data()
    np.testing.assert_allclose(prediction.to_x0(prediction.target(x0, eps, at), eps, at), x0, rtol=0, atol=5e-7)


@each
def test_gradients_at_the_ends_are_finite(prediction: Prediction) -> None:
    clean = (LOGSNR > 0).astype(np.float64)
    at = level(clean, 1 - clean)
    x = jnp.ones((len(LOGSNR), 32))
    grad = jax.grad(lambda out: jnp.sum(jnp.stack(to_x0_eps(out, x, at, prediction))))(x)
    assert jnp.all(jnp.isfinite(grad))


@each
def test_one_level_for_all_samples(prediction: Prediction) -> None:
    one = NoiseLevel(t=jnp.asarray(0.0), alpha=jnp.asarray(0.6), sigma=jnp.asarray(0.8))
    many = jax.tree.map(lambda v: jnp.broadcast_to(v, (len(LOGSNR),)), one)
    x0, eps = data()
    np.testing.assert_allclose(prediction.target(x0, eps, one), prediction.target(x0, eps, many), rtol=1e-6)
    np.testing.assert_allclose(to_x0_eps(x0, eps, one, prediction), to_x0_eps(x0, eps, many, prediction), rtol=1e-6)


@pytest.mark.slow
@each
def test_half_precision_stays(prediction: Prediction) -> None:
    at = preserving(np.zeros(2))
    x = jnp.ones((2, 3), jnp.bfloat16)
    assert prediction.target(x, x, at).dtype == jnp.bfloat16
    assert all(v.dtype == jnp.bfloat16 for v in (*to_x0_eps(x, x, at, prediction), prediction.inputs(x, at)[0]))


@each
def test_values(prediction: Prediction) -> None:
    assert prediction == type(prediction)()
    assert hash(prediction) == hash(type(prediction)())
    assert isinstance(prediction, Prediction)


def test_bad_sigma_data() -> None:
    with pytest.raises(ValueError, match=r"sigma_data must be positive and finite, got 0\.0"):
        EDMPreconditioned(0.0)
