"""Discrepancies against sums written out, and the polynomial kernel's closed form."""

from collections.abc import Callable

import numpy as np
import pytest

from artifex.training.evaluation import Features, Kernel, Polynomial, Rbf, distances, kid, mmd, mmd_squared

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((7, 3)), 0.5 + RNG.standard_normal((5, 3))
KERNELS: list[tuple[Kernel, Callable[[np.ndarray, np.ndarray], float]]] = [
    (Rbf(0.7), lambda x, y: float(np.exp(-((x - y) @ (x - y)) / (2 * 0.49)))),
    (Polynomial(), lambda x, y: float((x @ y / 3 + 1) ** 3)),
    (Polynomial(2, 0.5, 0.1), lambda x, y: float((0.5 * (x @ y) + 0.1) ** 2)),
    (lambda x, y: x @ y.T, lambda x, y: float(x @ y)),
]


@pytest.mark.parametrize(("kernel", "one"), KERNELS)
@pytest.mark.parametrize("unbiased", [True, False])
def test_the_sums_written_out(
    kernel: Kernel,
    one: Callable[[np.ndarray, np.ndarray], float],
    unbiased: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when neither set is a whole number of blocks."""
    monkeypatch.setattr(distances, "BLOCK", 3)

    def within(rows: np.ndarray) -> float:
        return float(
            np.mean([one(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j or not unbiased])
        )

    want = within(X) + within(Y) - 2 * np.mean([one(x, y) for x in X for y in Y])
    assert mmd_squared(X, Y, kernel, unbiased=unbiased) == pytest.approx(want, abs=1e-12)


def moments(mean: float, std: float) -> np.ndarray:
    """E x^j of a Gaussian, j = 0 to 3."""
    return np.array([1, mean, mean**2 + std**2, mean**3 + 3 * mean * std**2])


@pytest.mark.slow
def test_kid_has_no_bias_and_an_honest_error() -> None:
    """On a line the kernel is (xy + 1)^3, so MMD^2 is the sum of binom(3, j) (E x^j - E y^j)^2."""
    truth = float([1, 3, 3, 1] @ (moments(0.3, 1.2) - moments(0, 1)) ** 2)
    rng = np.random.default_rng(1)
    found = [
        kid(
            Features.of("x", 0.3 + 1.2 * rng.standard_normal((100, 1))),
            Features.of("x", rng.standard_normal((120, 1))),
            block=10,
        )
        for _ in range(100)
    ]
    values, errors = np.array([s.value for s in found]), np.array([s.error for s in found], np.float64)
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.25)


@pytest.mark.slow
def test_kid_of_one_law_is_about_zero_on_either_side() -> None:
    values = [kid(*(Features.of("x", RNG.standard_normal((40, 2))) for _ in range(2))).value for _ in range(30)]
    assert min(values) < 0 < max(values)


def test_samples_in_order_are_shuffled_into_blocks() -> None:
    """In order, and against the order turned round, each block would be far from its other."""
    rows = np.sort(RNG.standard_normal((400, 1)), axis=0)
    apart = [mmd_squared(rows[i : i + 40], rows[::-1][i : i + 40], Polynomial()) for i in range(0, 400, 40)]
    score = kid(Features.of("x", rows), Features.of("x", rows[::-1].copy()), block=40)
    assert abs(score.value) < 0.1 * np.mean(apart)


def test_scores_say_what_they_depend_on() -> None:
    x, y = Features.of("clip", X.astype(np.float32)), Features.of("clip", Y.astype(np.float32))
    cmmd = mmd(y, x, Rbf(10.0), unbiased=False, scale=1000)
    assert cmmd.value == pytest.approx(1000 * mmd_squared(x.exact, y.exact, Rbf(10.0), unbiased=False))
    assert cmmd.settings == {"kernel": "rbf(bandwidth=10)", "biased": True, "scale": 1000}
    assert (cmmd.extractor, cmmd.generated, cmmd.real) == ("clip", 5, 7)
    assert mmd(y, x).settings["kernel"] == f"rbf(bandwidth={Rbf.median(x).bandwidth:.6g})"
    apart = [float(np.linalg.norm(a - b)) for i, a in enumerate(x.exact) for b in x.exact[:i]]
    assert Rbf.median(x).bandwidth == pytest.approx(np.median(apart))
    assert str(kid(x, x)).endswith("(clip; 7 generated, 7 real; block = 2)")


def test_bad_input() -> None:
    x = Features.of("f", X)
    with pytest.raises(ValueError, match="both sets must be at least 4 samples, got 3 and 7"):
        kid(Features.of("f", X[:3]), x)
    with pytest.raises(
        ValueError, match="block = 4 needs at least 8 samples of either kind, got 7 generated and 7 real"
    ):
        kid(x, x, block=4)
    with pytest.raises(ValueError, match="both sets must be at least 2 samples, got 1 and 7"):
        mmd_squared(X[:1], X, Rbf(1.0))
    with pytest.raises(ValueError, match="features must be kept row by row"):
        mmd(Features("f", x.statistics), x)
    for bandwidth in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="bandwidth must be positive and finite"):
            Rbf(bandwidth)
    with pytest.raises(ValueError, match="degree must be at least 1"):
        Polynomial(0)
