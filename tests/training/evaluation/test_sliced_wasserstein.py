"""The distance on lines: closed forms, and the best of all pairings."""

from itertools import permutations

import numpy as np
import pytest

from artifex.training.evaluation import Features, sliced_wasserstein


def features(rows: np.ndarray) -> Features:
    return Features.of("f", rows)


def test_a_shift_is_its_length_over_the_root_of_the_width() -> None:
    x, shift = np.random.default_rng(0).standard_normal((60, 5)), np.array([3.0, 0, -4, 0, 0])
    score = sliced_wasserstein(features(x + shift), features(x), directions=4096)
    assert score.error is not None
    assert 0 < score.error < 0.02
    assert score.value == pytest.approx(5 / np.sqrt(5), abs=4 * score.error)
    assert sliced_wasserstein(features(x), features(x)).value == 0


@pytest.mark.slow
def test_gaussians_of_two_widths() -> None:
    """Isotropic with deviations s and t: the distance on every line is |s - t|."""
    rng = np.random.default_rng(0)
    x, y = 2.0 * rng.standard_normal((20_000, 2)), 0.5 * rng.standard_normal((16_000, 2))
    assert sliced_wasserstein(features(x), features(y), directions=32).value == pytest.approx(1.5, abs=0.03)


def test_the_best_pairing_on_a_line() -> None:
    """The square root of the least mean squared distance over all pairings; counts that differ by copying samples."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((6, 1)), rng.standard_normal((6, 1))
    best = min(float(np.mean((x[list(p)] - y) ** 2)) for p in permutations(range(6)))
    assert sliced_wasserstein(features(x), features(y)).value == pytest.approx(np.sqrt(best))
    a, b = x[:2], y[:3]
    best = min(float(np.mean((np.repeat(a, 3, 0)[list(p)] - np.repeat(b, 2, 0)) ** 2)) for p in permutations(range(6)))
    assert sliced_wasserstein(features(a), features(b)).value == pytest.approx(np.sqrt(best))


def test_one_direction() -> None:
    with pytest.raises(ValueError, match="directions must be at least 2, got 1"):
        sliced_wasserstein(features(np.ones((2, 2))), features(np.ones((2, 2))), directions=1)
