"""The Fréchet distance against closed forms, and SciPy's root of the product."""

import numpy as np
import pytest
from scipy.linalg import sqrtm  # type: ignore[import-untyped]
from scipy.stats import ortho_group  # type: ignore[import-untyped]

from artifex.training.evaluation import Features, fid, frechet_distance

RNG = np.random.default_rng(0)
ZERO = np.zeros(6)


def wishart(d: int, n: int, seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).standard_normal((n, d))
    return a.T @ a / n


def test_covariances_that_commute() -> None:
    """|m|^2 + sum (sqrt a - sqrt b)^2 in the common eigenbasis, over twelve orders of magnitude."""
    q = ortho_group.rvs(6, random_state=0)
    a, b = np.array([1e-8, 1e-4, 1, 2, 3, 1e4]), np.array([4, 1e-8, 0, 2, 5, 9e3])
    mean = np.arange(6.0)
    want = mean @ mean + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    got = frechet_distance(mean, q * a @ q.T, ZERO, q * b @ q.T)
    assert got == pytest.approx(want, abs=1e-4)


def test_two_by_two_that_do_not_commute() -> None:
    """tr sqrt(M) of a 2x2 matrix is sqrt(tr M + 2 sqrt(det M))."""
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    m = a @ b
    assert abs(m - m.T).max() > 1
    want = np.trace(a + b) - 2 * np.sqrt(np.trace(m) + 2 * np.sqrt(np.linalg.det(m)))
    assert frechet_distance(ZERO[:2], a, ZERO[:2], b) == pytest.approx(want, abs=1e-12)


def test_fifty_digits() -> None:
    """The sum of the roots of the product's eigenvalues, by mpmath with 50 digits."""
    a = np.array([[4.0, 1, 0], [1, 3, -1], [0, -1, 2]])
    b = np.array([[1, 0.5, 0.25], [0.5, 2, -1], [0.25, -1, 5]])
    got = frechet_distance(np.array([1.0, 2, 3]), a, ZERO[:3], b)
    assert got == pytest.approx(15.809837692983580666853638157101, abs=1e-13)


def test_the_root_of_the_product() -> None:
    a, b = wishart(40, 60, 1), 3 * wishart(40, 50, 2)
    want = 1 + np.trace(a + b - 2 * sqrtm(a @ b).real)
    mean = np.full(40, 1 / np.sqrt(40))
    assert frechet_distance(mean, a, np.zeros(40), b) == pytest.approx(want, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_fewer_samples_than_features(scale: float) -> None:
    """Of covariances u u^T and v v^T the root has the trace |u . v|; of one with itself the distance is 0."""
    u, v = RNG.standard_normal((2, 100))
    want = scale * (u @ u + v @ v - 2 * abs(u @ v))
    zero = np.zeros(100)
    got = frechet_distance(zero, scale * np.outer(u, u), zero, scale * np.outer(v, v))
    assert got == pytest.approx(want, rel=1e-10)
    few = scale * wishart(100, 20, 3)
    assert frechet_distance(zero, few, zero, few) == pytest.approx(0, abs=1e-10 * scale * 100)
    assert frechet_distance(zero, few, zero, 0 * few) == pytest.approx(np.trace(few), rel=1e-12)


def test_fid_of_samples_is_that_of_their_gaussians() -> None:
    x, y = RNG.standard_normal((50, 6)), 2 + RNG.standard_normal((70, 6))
    score = fid(Features.of("f", y), Features.of("f", x))
    a, b = np.cov(x.T), np.cov(y.T)
    offset = x.mean(0) - y.mean(0)
    assert score.value == pytest.approx(offset @ offset + np.trace(a + b - 2 * sqrtm(a @ b).real), abs=1e-9)
    assert (score.extractor, score.generated, score.real, score.error) == ("f", 70, 50, None)
    assert str(score) == f"fid {score.value:.5g} (f; 70 generated, 50 real)"


def test_too_few_samples() -> None:
    few, many = Features.of("f", RNG.standard_normal((6, 6))), Features.of("f", RNG.standard_normal((7, 6)))
    says = "generated must be at least 7 samples for features of width 6, got 6; the metric kid has no bias with few$"
    with pytest.raises(ValueError, match=says):
        fid(few, many)
    with pytest.raises(ValueError, match="real must be at least 7 samples"):
        fid(many, few)
    assert fid(few, many, allow_few=True).value > 0


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.eye(2), r"covariance1 must have shape \(6, 6\), got \(2, 2\)"),
        (np.full((6, 6), np.nan), "covariance1 must be finite"),
        (np.triu(np.ones((6, 6))), "covariance1 must be symmetric"),
        (np.diag([1, 1, 1, 1, 1, -0.1]), "covariance1 must be positive semi-definite, got the eigenvalue -0.1"),
    ],
)
def test_what_is_no_covariance(covariance: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(ZERO, covariance, ZERO, np.eye(6))


def test_two_extractors_or_widths() -> None:
    a = Features.of("f", RNG.standard_normal((9, 6)))
    with pytest.raises(ValueError, match="features must be of one extractor, got 'g' and 'f'"):
        fid(Features.of("g", RNG.standard_normal((9, 6))), a)
    with pytest.raises(ValueError, match="features must be of one width, got 5 and 6"):
        fid(Features.of("f", RNG.standard_normal((9, 5))), a)
