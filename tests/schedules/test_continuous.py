import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad  # type: ignore[import-untyped]

from artifex.schedules import (
    EDM,
    VE,
    VP,
    CosineVP,
    Discrete,
    NoiseLevel,
    RectifiedFlow,
    Schedule,
    Shifted,
    SubVP,
    betas,
)
from artifex.schedules.arrays import HostArray

# the schedule, and the times between which it is tried
CASES: Final[dict[str, tuple[Schedule, float, float]]] = {
    "VP": (VP(), 0.0, 1.0),
    "VP constant": (VP(5.0, 5.0), 0.0, 1.0),
    "SubVP": (SubVP(), 0.0, 1.0),
    "CosineVP": (CosineVP(), 0.0, 1.0),
    "CosineVP cut": (CosineVP(-15.0, 15.0), 0.0, 1.0),
    "VE": (VE(), 0.0, 1.0),
    "EDM": (EDM(), 0.002, 80.0),
    "RectifiedFlow": (RectifiedFlow(), 0.0, 1.0),
    "RectifiedFlow 3": (RectifiedFlow(3.0), 0.0, 1.0),
    "Shifted VP": (Shifted(VP(), 2.0), 0.0, 1.0),
    "Shifted back": (Shifted(CosineVP(), 0.25), 0.0, 1.0),
    "Shifted flow": (Shifted(RectifiedFlow(), 3.0), 0.0, 1.0),
    "Shifted VE": (Shifted(VE(), 4.0), 0.0, 1.0),
    "Shifted chain": (Shifted(Discrete(betas.linear(1000)), 2.0), -1.0, 999.0),
}
each = pytest.mark.parametrize(("schedule", "first", "last"), CASES.values(), ids=CASES.keys())


def host(*values: float) -> HostArray:
    return np.asarray(values, np.float64)


def vp(t: float) -> tuple[float, float]:
    total = quad(lambda s: 0.1 + s * (20.0 - 0.1), 0, t, epsabs=1e-14)[0]
    return math.exp(-total / 2), math.sqrt(1 - math.exp(-total))


def sub_vp(t: float) -> tuple[float, float]:
    alpha, sigma = vp(t)
    return alpha, sigma**2


def ve(t: float) -> tuple[float, float]:
    return 1.0, 0.01 * 5000.0**t


def cosine(t: float) -> tuple[float, float]:
    return math.cos(math.pi * t / 2), math.sin(math.pi * t / 2)


def flow_3(t: float) -> tuple[float, float]:
    sigma = 3 * t / (1 + 2 * t)
    return 1 - sigma, sigma


def shifted_vp(t: float) -> tuple[float, float]:
    alpha, sigma = vp(t)
    power = 1 / (1 + (2 * sigma / alpha) ** 2)
    return math.sqrt(power), math.sqrt(1 - power)


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (VP(), vp),
        (SubVP(), sub_vp),
        (VE(), ve),
        (CosineVP(), cosine),
        (EDM(), lambda t: (1.0, t)),
        (RectifiedFlow(), lambda t: (1 - t, t)),
        (RectifiedFlow(3.0), flow_3),
        (Shifted(VP(), 2.0), shifted_vp),
        (Shifted(RectifiedFlow(), 3.0), flow_3),
        (Shifted(VE(), 4.0), lambda t: (1.0, 0.04 * 5000.0**t)),
    ],
)
def test_the_papers_formulas(schedule: Schedule, formula: Callable[[float], tuple[float, float]]) -> None:
    for t in (0.001, 0.1, 0.37, 0.5, 0.9, 1.0):
        level = schedule.at(host(t))
        np.testing.assert_allclose((level.alpha[0], level.sigma[0]), formula(t), rtol=1e-10, atol=1e-15)
        assert level.t[0] == t


def test_a_cut_cosine_runs_between_its_ends() -> None:
    level = CosineVP(-15.0, 12.0).at(host(0, 0.5, 1))
    np.testing.assert_allclose(level.logsnr[[0, 2]], (12, -15), rtol=1e-12)
    np.testing.assert_allclose(level.alpha**2 + level.sigma**2, 1, rtol=1e-14)


@partial(jax.jit, static_argnums=0)
def traced(schedule: Schedule, t: jax.Array) -> tuple[NoiseLevel[jax.Array], jax.Array, jax.Array]:
    level = schedule.at(t)
    back = schedule.inverse_logsnr(jnp.append(level.logsnr, jnp.asarray([jnp.inf, -jnp.inf])))
    return level, back[:-2], back[-2:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["VP", "SubVP", "CosineVP", "VE", "EDM", "RectifiedFlow", "RectifiedFlow 3", "Shifted VP", "Shifted chain"]
)
def test_float32_under_jit_agrees_with_float64(name: str) -> None:
    schedule, first, last = CASES[name]
    t = np.linspace(first, last, 301).astype(np.float32)
    exact = schedule.at(t.astype(np.float64))
    single, back, ends = traced(schedule, jnp.asarray(t))
    assert exact.alpha.dtype == exact.sigma.dtype == exact.t.dtype == np.float64
    assert single.alpha.dtype == single.sigma.dtype == single.t.dtype == back.dtype == jnp.float32
    scale = np.hypot(exact.alpha, exact.sigma)
    assert np.max(np.abs(exact.alpha - np.asarray(single.alpha)) / scale) < 2e-6
    assert np.max(np.abs(exact.sigma - np.asarray(single.sigma)) / scale) < 2e-6
    np.testing.assert_allclose(back, t, rtol=0, atol=1e-6 * (last - first))
    assert not np.any(np.isnan([*single.logsnr, *ends]))


@pytest.mark.parametrize("schedule", [VP(), SubVP(), CosineVP(), RectifiedFlow(3.0)])
def test_sigma_keeps_its_digits_near_clean_data(schedule: Schedule) -> None:
    t = np.asarray([1e-6, 1e-5, 1e-4], np.float32)
    np.testing.assert_allclose(schedule.at(jnp.asarray(t)).sigma, schedule.at(t.astype(np.float64)).sigma, rtol=1e-6)


@each
def test_inverse_logsnr_inverts(schedule: Schedule, first: float, last: float) -> None:
    t = np.linspace(first, last, 301)
    np.testing.assert_allclose(schedule.inverse_logsnr(schedule.at(t).logsnr), t, rtol=0, atol=1e-9 * (last - first))


@pytest.mark.slow
@each
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_logsnr_falls(schedule: Schedule, first: float, last: float, data: st.DataObject) -> None:
    times = st.floats(first, last, allow_subnormal=False)
    early, late = sorted(data.draw(st.tuples(times, times).filter(lambda x: abs(x[0] - x[1]) > 1e-6 * (last - first))))
    logsnr = schedule.at(host(early, late)).logsnr
    assert logsnr[0] > logsnr[1]


@each
def test_ends_are_finite(schedule: Schedule, first: float, last: float) -> None:
    level = schedule.at(host(first, last))
    for values in (level.alpha, level.sigma):
        assert np.all(np.isfinite(values))
        assert np.all(values >= 0)
    assert not np.any(np.isnan(level.logsnr))


@each
def test_infinite_logsnr_has_a_time(schedule: Schedule, first: float, last: float) -> None:
    clean = schedule.inverse_logsnr(host(np.inf))
    assert schedule.at(clean).sigma[0] == 0 or schedule == CosineVP(-15.0, 15.0)
    noisy = schedule.inverse_logsnr(host(-np.inf))
    assert noisy[0] >= last


@pytest.mark.parametrize("schedule", [CosineVP(), RectifiedFlow(), RectifiedFlow(3.0), Shifted(CosineVP(), 2.0)])
@pytest.mark.parametrize("world", [np.asarray, jnp.asarray])
def test_pure_noise_has_no_signal(schedule: Schedule, world: Callable[[list[float]], HostArray]) -> None:
    level: NoiseLevel[HostArray] = schedule.at(world([0.0, 1.0]))
    np.testing.assert_array_equal(level.alpha, [1, 0])
    np.testing.assert_array_equal(level.sigma, [0, 1])
    np.testing.assert_array_equal(level.logsnr, [np.inf, -np.inf])


def test_clean_data_of_an_exploding_path() -> None:
    level = VE().at(host(-np.inf))
    assert (level.alpha[0], level.sigma[0]) == (1, 0)


@each
def test_times_without_axes(schedule: Schedule, first: float, last: float) -> None:
    t = np.asarray((first + last) / 2)
    level = schedule.at(t)
    assert level.alpha.shape == level.sigma.shape == level.logsnr.shape == ()
    assert schedule.inverse_logsnr(level.logsnr).shape == ()


def test_a_trace_holds_times_to_the_range() -> None:
    level = jax.jit(VP().at)(jnp.asarray([-1.0, 2.0]))
    np.testing.assert_allclose(level.sigma, VP().at(jnp.asarray([0.0, 1.0])).sigma)


def test_half_precision_times_are_widened() -> None:
    assert VP().at(jnp.asarray([0.5], jnp.bfloat16)).sigma.dtype == jnp.float32


@pytest.mark.parametrize("schedule", [VP(), SubVP(), CosineVP(), RectifiedFlow(), Shifted(VP(), 2.0)])
@pytest.mark.parametrize("t", [-0.1, 1.1, 999.0, math.nan])
def test_times_outside_are_errors(schedule: Schedule, t: float) -> None:
    with pytest.raises(ValueError, match=r"t must be in \[0, 1\], got values from"):
        schedule.at(host(t))


def test_more_bad_times() -> None:
    with pytest.raises(ValueError, match=r"t must be in \[0, inf\], got values from -1.0"):
        EDM().at(jnp.asarray([-1.0]))
    with pytest.raises(ValueError, match="got values from nan"):
        VE().at(host(math.nan))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VP(0.0, 20.0), "0 < beta_min <= beta_max, got 0.0 and 20.0"),
        (lambda: SubVP(3.0, 2.0), "0 < beta_min <= beta_max, got 3.0 and 2.0"),
        (lambda: VE(2.0, 1.0), "0 < sigma_min < sigma_max, got 2.0 and 1.0"),
        (lambda: CosineVP(3.0, 3.0), "logsnr_min must be below logsnr_max, got 3.0 and 3.0"),
        (lambda: RectifiedFlow(0.0), "shift must be positive and finite, got 0.0"),
        (lambda: Shifted(VP(), -1.0), "factor must be positive and finite, got -1.0"),
    ],
)
def test_bad_settings(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_no_warnings_far_out() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for schedule in (VP(), SubVP(), CosineVP(), RectifiedFlow()):
            t = schedule.inverse_logsnr(host(-1200.0, -100.0, 100.0, 1200.0))
            np.testing.assert_array_equal(np.diff(t) <= 0, True)
            assert t[0] == 1
