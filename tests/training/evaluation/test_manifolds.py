"""Precision, recall, density and coverage: on a line with a pencil, and by brute force."""

import numpy as np
import pytest

from artifex.training.evaluation import Features, Score, density_coverage, distances, evaluate, precision_recall


def on_line(*places: float) -> Features:
    return Features.of("line", np.array(places, np.float64)[:, None])


def all_four(generated: Features, real: Features, k: int) -> list[Score]:
    return [*precision_recall(generated, real, k=k), *density_coverage(generated, real, k=k)]


def values(scores: list[Score]) -> list[float]:
    return [score.value for score in scores]


def test_four_points_and_three() -> None:
    """Real 0, 1, 3, 7 with k = 1 have radii 1, 1, 2, 4; generated 1.5, 2, 20 have 0.5, 0.5, 18.

    1.5 is in the balls of 1 and 3; 2 is on the edge of that of 1 and in that of 3; 20 in none. Of the real points 1 is
    on the edge of the ball of 1.5, and 3 and 7 are in that of 20. An edge counts for precision and recall alone.
    """
    found = all_four(on_line(1.5, 2, 20), on_line(0, 1, 3, 7), k=1)
    assert values(found) == pytest.approx([2 / 3, 3 / 4, 3 / 3, 2 / 4])
    precision, recall, density, coverage = found
    assert precision.error == pytest.approx(np.sqrt(3 / 5 * 2 / 5 / 3))
    assert recall.error == pytest.approx(np.sqrt(4 / 6 * 2 / 6 / 4))
    assert density.error == pytest.approx(np.std([2, 1, 0], ddof=1) / np.sqrt(3))
    assert coverage.error == pytest.approx(np.sqrt(1 / 4 / 4))
    assert {(s.extractor, s.generated, s.real, s.settings["k"]) for s in found} == {("line", 3, 4, 1)}


@pytest.mark.slow
def test_the_same_set_and_a_far_one() -> None:
    """Places that are whole numbers: distances are exact, and the k-th nearest is on the edge of a ball."""
    here = Features.of(
        "grid", np.stack(np.meshgrid(np.arange(0, 64, 2) ** 2.0, np.arange(20) ** 2.0), -1).reshape(-1, 2)
    )
    assert values(all_four(here, here, k=5))[:2] == [1, 1]
    assert values(all_four(on_line(0, 1, 3, 7, 12), on_line(0, 1, 3, 7, 12), k=2))[2:] == [1, 1]
    far = Features.of("grid", here.exact + 1e5)
    assert values(all_four(far, here, k=5)) == [0, 0, 0, 0]


def test_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks that neither set fills."""
    monkeypatch.setattr(distances, "BLOCK", 7)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), 0.6 * rng.standard_normal((33, 3)) + 100 - 99.5
    k = 4

    def radius(rows: np.ndarray, i: int) -> float:
        return sorted(float(np.linalg.norm(rows[i] - rows[j])) for j in range(len(rows)) if j != i)[k - 1]

    rx, ry = [radius(x, i) for i in range(len(x))], [radius(y, j) for j in range(len(y))]
    apart = [[float(np.linalg.norm(a - b)) for b in y] for a in x]
    inside = [[apart[i][j] < rx[i] for j in range(len(y))] for i in range(len(x))]
    want = [
        np.mean([any(inside[i][j] for i in range(len(x))) for j in range(len(y))]),
        np.mean([any(apart[i][j] < ry[j] for j in range(len(y))) for i in range(len(x))]),
        np.mean([sum(inside[i][j] for i in range(len(x))) / k for j in range(len(y))]),
        np.mean([any(row) for row in inside]),
    ]
    assert 0 < min(want) < max(want)
    assert values(all_four(Features.of("f", y), Features.of("f", x), k)) == pytest.approx(want)


@pytest.mark.slow
def test_two_sets_of_one_law_have_the_density_and_coverage_expected() -> None:
    n, m, k = 300, 200, 5
    rng = np.random.default_rng(0)
    found = np.array([
        [s.value for s in density_coverage(*(Features.of("f", rng.standard_normal((c, 4))) for c in (m, n)), k=k)]
        for _ in range(20)
    ])  # fmt: skip
    coverage = 1 - np.prod([(n - i) / (m + n - i) for i in range(1, k + 1)])
    for got, want in zip(found.T, (1, coverage), strict=True):
        assert got.mean() == pytest.approx(want, abs=4 * got.std() / np.sqrt(len(got)))


@pytest.mark.parametrize("metric", [precision_recall, density_coverage])
def test_no_kth_nearest(metric: object) -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        metric(on_line(1, 2, 3), on_line(1, 2, 3, 4), k=0)  # type: ignore[operator]
    with pytest.raises(ValueError, match="k = 3 needs at least 4 samples of either kind, got 3 generated and 4 real"):
        metric(on_line(1, 2, 3), on_line(1, 2, 3, 4), k=3)  # type: ignore[operator]


def test_reasons_for_one_sample_hold_no_empty_range() -> None:
    one = Features.of("f", np.zeros((1, 2)), np.array([[0.5, 0.5]]))
    skipped = evaluate(one, one).skipped
    assert skipped["precision_recall"] == "k = 3 needs at least 4 samples of either kind, got 1 generated and 1 real"
    assert skipped["density_coverage"] == "k = 5 needs at least 6 samples of either kind, got 1 generated and 1 real"
    assert skipped["inception_score"] == "splits = 10 needs at least 20 samples, got 1"
    assert set(skipped) >= {"fid", "kid", "mmd"}
    assert not any("[" in why for why in skipped.values())
