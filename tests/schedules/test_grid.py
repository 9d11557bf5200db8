import inspect
import math
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
import pytest
from scipy.stats import beta as beta_distribution  # type: ignore[import-untyped]

from artifex.schedules import EDM, VE, VP, Discrete, RectifiedFlow, Schedule, betas, grid
from artifex.schedules.arrays import HostArray

CHAIN: Final = Discrete(betas.scaled_linear(1000))


def test_every() -> None:
    np.testing.assert_array_equal(grid.all_steps(3), [2, 1, 0, -1])


def test_leading() -> None:
    np.testing.assert_array_equal(grid.leading(1000, 5), [800, 600, 400, 200, 0, -1])
    np.testing.assert_array_equal(grid.leading(1000, 5, offset=1, end=0), [801, 601, 401, 201, 1, 0])
    # 1000 / 30 is cut, not rounded
    assert grid.leading(1000, 30, offset=1)[0] == 29 * 33 + 1


def test_trailing() -> None:
    np.testing.assert_array_equal(grid.trailing(1000, 5), [999, 799, 599, 399, 199, -1])
    np.testing.assert_array_equal(grid.trailing(1000, 4, end=0), [999, 749, 499, 249, 0])
    assert grid.trailing(1000, 3)[1] == round(1000 - 1000 / 3) - 1


def test_linspace() -> None:
    np.testing.assert_array_equal(grid.linspace(1000, 5), [999, 749, 500, 250, 0, -1])
    np.testing.assert_array_equal(grid.linspace(1000, 5, whole=False), [999, 749.25, 499.5, 249.75, 0, -1])


def test_quadratic() -> None:
    np.testing.assert_array_equal(grid.quadratic(1000, 5), [999, 561, 249, 62, 0, -1])
    np.testing.assert_array_equal(grid.quadratic(4, 4), [3, 2, 1, 0, -1])


@pytest.mark.parametrize("spacing", [grid.trailing, grid.quadratic, grid.linspace])
def test_one_step_starts_at_noise(spacing: Callable[[int, int], HostArray]) -> None:
    np.testing.assert_array_equal(spacing(1000, 1), [999, -1])


@pytest.mark.parametrize("spacing", [grid.leading, grid.trailing, grid.quadratic, grid.linspace])
@pytest.mark.parametrize("k", [1, 2, 7, 10, 50, 300, 999, 1000])
def test_discrete_grids_fall_within_the_chain(spacing: Callable[[int, int], HostArray], k: int) -> None:
    times = spacing(1000, k)
    assert times.shape == (k + 1,)
    assert times.dtype == np.float64
    assert np.all(np.diff(times) < 0)
    assert times[0] <= 999
    assert times[-1] == -1
    np.testing.assert_array_equal(times, np.round(times))


def test_karras_pins() -> None:
    times = grid.karras(EDM(), 18, 80.0, 0.002)
    want = [80, 57.58598472, 40.7855738, 1.923339837, 0.007528019963, 0.002]
    np.testing.assert_allclose(times[[0, 1, 2, 9, 16, 17]], want, rtol=1e-9)
    assert times.shape == (19,)
    assert times[-1] == 0
    np.testing.assert_allclose(grid.karras(EDM(), 17, 80.0, 0.002, clean=False), times[:-1], rtol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "start", "end"),
    [(CHAIN, 999.0, 0.0), (VP(), 1.0, 1e-3), (VE(), 1.0, 0.0), (EDM(), 80.0, 0.002), (RectifiedFlow(), 0.99, 0.01)],
)
def test_spacing_by_noise_over_any_schedule(schedule: Schedule, start: float, end: float) -> None:
    times = grid.karras(schedule, 10, start, end, rho=5.0)
    sigma = np.exp(-schedule.at(times[:-1]).logsnr / 2)
    steps = np.diff(sigma**0.2)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    even = np.diff(schedule.at(grid.logsnr_uniform(schedule, 10, start, end)[:-1]).logsnr)
    np.testing.assert_allclose(even, even[0], rtol=1e-6)
    assert (times[0], times[9]) == (start, end)
    assert schedule.at(times[-1:]).sigma[0] == 0
    grid.custom(schedule, times)


def test_exponential_is_uniform_in_log_sigma() -> None:
    times = grid.exponential(EDM(), 20, 10.0, 0.05, clean=False)
    np.testing.assert_allclose(times, np.geomspace(10, 0.05, 21), rtol=1e-12)


def test_one_step_by_noise() -> None:
    np.testing.assert_array_equal(grid.karras(EDM(), 1, 80.0, 0.002), [80, 0])
    np.testing.assert_array_equal(grid.karras(EDM(), 1, 80.0, 0.002, clean=False), [80, 0.002])


def test_uniform_and_shifted() -> None:
    np.testing.assert_allclose(grid.uniform(4), [1, 0.75, 0.5, 0.25, 0])
    times = grid.shifted(grid.uniform(4), 3.0)
    np.testing.assert_allclose(times, [1, 0.9, 0.75, 0.5, 0], rtol=1e-15)
    np.testing.assert_allclose(RectifiedFlow().at(times).sigma, RectifiedFlow(3.0).at(grid.uniform(4)).sigma)


def test_beta() -> None:
    times = grid.beta(10, 999.0, -1.0)
    np.testing.assert_allclose(times, -1 + 1000 * beta_distribution.ppf(np.linspace(1, 0, 11), 0.6, 0.6), atol=1e-9)
    np.testing.assert_allclose(grid.beta(7, a=1.0, b=1.0), grid.uniform(7), atol=1e-12)


def test_from_sigmas() -> None:
    np.testing.assert_allclose(grid.from_sigmas(EDM(), np.array([3.0, 1.0, 0.0])), [3, 1, 0], rtol=1e-14)
    np.testing.assert_allclose(grid.from_sigmas(RectifiedFlow(), np.array([3.0, 1.0, 0.0])), [0.75, 0.5, 0])


@pytest.mark.parametrize(
    ("model", "steps"),
    [
        ("sd15", [999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0]),
        ("sdxl", [999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0]),
    ],
)
def test_published_sigmas_stand_at_the_published_steps(model: Literal["sd15", "sdxl"], steps: list[int]) -> None:
    """The two tables of the same grid, three digits and whole numbers, were published apart."""
    times = grid.align_your_steps(CHAIN, model=model, clean=False)
    np.testing.assert_allclose(times, steps, atol=0.75)
    assert grid.align_your_steps(CHAIN, model=model)[-1] == -1


def test_align_your_steps_at_other_counts() -> None:
    ten = grid.align_your_steps(EDM(), model="svd", clean=False)
    np.testing.assert_allclose(ten[[0, 1, 9, 10]], [700, 54.5, 0.034, 0.002], rtol=1e-12)
    twenty = grid.align_your_steps(EDM(), 20, "svd", clean=False)
    np.testing.assert_allclose(twenty[::2], ten, rtol=1e-12)
    np.testing.assert_allclose(twenty[1::2], np.sqrt(ten[1:] * ten[:-1]), rtol=1e-12)
    assert grid.align_your_steps(EDM(), 20, "svd")[-1] == 0


def test_custom_copies() -> None:
    times = np.array([999.0, 12.5, -1.0])
    kept = grid.custom(CHAIN, times)
    times[0] = 0
    np.testing.assert_array_equal(kept, [999, 12.5, -1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid.trailing(1000, 0), r"steps must be in \[1, 1000\], got 0"),
        (lambda: grid.leading(10, 11), r"steps must be in \[1, 10\], got 11"),
        (lambda: grid.leading(1000, 1000, offset=1), r"times must be in \[0, 999\], got 1 to 1000"),
        (lambda: grid.leading(1000, 10, end=0), r"end must be in \[-1, 0\), below the last time, got 0"),
        (lambda: grid.uniform(0), "steps must be at least 1, got 0"),
        (lambda: grid.uniform(3, 0.0, 1.0), "end must be below start, got start = 0.0 and end = 1.0"),
        (lambda: grid.beta(3, a=0.0), "a must be positive and finite, got 0.0"),
        (lambda: grid.karras(EDM(), 3, 1.0, 80.0), "log-SNR must be finite and rise from start to end, got 0 at 1.0"),
        (lambda: grid.karras(VP(), 3, 1.0, 0.0), "log-SNR must be finite and rise from start to end, got .* inf at 0"),
        (lambda: grid.karras(EDM(), 3, 80.0, 1.0, rho=0.0), "rho must be positive and finite, got 0.0"),
        (lambda: grid.shifted(np.array([2.0, 0.0]), 3.0), r"times must be in \[0, 1\], got \[2. 0.\]"),
        (lambda: grid.shifted(np.array([1.0, 0.0]), 0.0), "shift must be positive and finite, got 0.0"),
        (lambda: grid.from_sigmas(EDM(), np.array([1.0, 2.0])), r"sigmas must be finite and fall.*got \[1. 2.\]"),
        (lambda: grid.from_sigmas(EDM(), np.array([1.0])), r"sigmas must be of shape .*got \(1,\)"),
        (lambda: grid.custom(EDM(), np.array([1.0])), r"times must be of shape .*got \(1,\)"),
        (lambda: grid.custom(EDM(), np.array([1.0, 2.0])), "got 1 and then 2 at indices 0 and 1"),
        (lambda: grid.custom(CHAIN, np.array([1000.0, 2.0])), r"t must be in \[-1, 999\], got values from 2.0 to 1000"),
    ],
)
def test_bad_input(make: Callable[[], HostArray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_misspelt_model_is_an_error() -> None:
    unchecked: Any = inspect.unwrap(grid.align_your_steps)  # without the tests' own type checks
    with pytest.raises(ValueError, match="model must be one of 'sd15', 'sdxl', 'svd', got 'sd21'"):
        unchecked(CHAIN, model="sd21")


def test_zero_terminal_chain_has_no_noise_spacing() -> None:
    chain = Discrete(betas.rescale_zero_terminal_snr(betas.scaled_linear(1000)))
    with pytest.raises(ValueError, match="got -inf at 999"):
        grid.karras(chain, 5, 999.0, 0.0)
    assert math.isfinite(grid.karras(chain, 5, 998.0, 0.0)[1])


@pytest.mark.parametrize("shift", [0.1, 0.10595297648824412, 0.15952976488244123, 3.0, 3.158])
def test_a_shift_keeps_both_ends(shift: float) -> None:
    """s / (1 + (s - 1)) may round to more than 1, which is no time of a flow."""
    times = grid.shifted(np.linspace(1, 0, 5), shift)
    assert (times.max(), times[-1]) == (times[0], 0.0)
    assert times[0] == pytest.approx(1, abs=1e-15)
    assert np.isfinite(RectifiedFlow().at(times).sigma).all()
