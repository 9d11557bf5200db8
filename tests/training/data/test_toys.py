import numpy as np
import pytest

from artifex.training.data import ToyName, toy_points

N = 40_000
A = 6 * np.pi


@pytest.mark.parametrize(
    ("name", "parts", "moments"),
    [
        # Of the half circle (cos t, sin t), t uniform in [0, pi]: E cos t = 0, E sin t = 2 / pi, E cos^2 t = 1 / 2; the
        # other moon is its point reflection, so the mean is 0 and second moments are those of one moon.
        (
            "moons",
            2,
            (3 / 4 / 1.5**2 + 0.05**2, (1 / 8 - 1 / np.pi) / 1.5**2, (9 / 16 - 1 / np.pi) / 1.5**2 + 0.05**2),
        ),
        # E x^2 = int_0^1 2 r (r cos(3 pi r))^2 dr = 1 / 4 + int_0^1 r^3 cos(A r) dr, E xy = int_0^1 r^3 sin(A r) dr
        ("spirals", 2, (1 / 4 + 3 / A**2 + 0.02**2, 6 / A**3 - 1 / A, 1 / 4 - 3 / A**2 + 0.02**2)),
        # Rows and columns are both of (-0.75, 0.25) or both of (-0.25, 0.75), whose means are -1 / 4 and 1 / 4.
        ("checkerboard", 8, (1 / 3, 1 / 16, 1 / 3)),
        ("gaussians", 8, (0.75**2 / 2 + 0.05**2, 0, 0.75**2 / 2 + 0.05**2)),
    ],
)
def test_moments_are_those_of_the_formula(name: ToyName, parts: int, moments: tuple[float, float, float]) -> None:
    x, labels = toy_points(name, N, seed=3)
    x = x.astype(np.float64)
    assert np.allclose(x.mean(axis=0), 0, atol=5 * 0.6 / N**0.5)
    second = x.T @ x / N
    assert np.allclose((second[0, 0], second[0, 1], second[1, 1]), moments, atol=5 * 0.5 / N**0.5)
    counts = np.bincount(labels, minlength=parts)
    assert len(counts) == parts
    assert np.allclose(counts / N, 1 / parts, atol=5 * 0.5 / N**0.5)


def test_labels_say_which_part_a_point_is_of() -> None:
    x, labels = toy_points("gaussians", 2000)
    centers = 0.75 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1)
    assert np.array_equal(np.linalg.norm(x[:, None] - centers, axis=2).argmin(axis=1), labels)
    x, labels = toy_points("checkerboard", 2000)
    column, row = np.floor(2 * (x + 1)).astype(int).T
    assert np.all((row + column) % 2 == 0)
    assert len({*zip(row, column, labels, strict=True)}) == 8


def test_moons_and_arms_lie_on_their_curves() -> None:
    x, labels = toy_points("moons", 2000)
    one = np.where(labels[:, None] == 1, -x, x) * 1.5 + [0.5, 0.25]
    distance = np.linalg.norm(one, axis=1) - 1
    assert abs(distance.std() - 1.5 * 0.05) < 0.01
    x, labels = toy_points("spirals", 2000)
    one = np.where(labels[:, None] == 1, -x, x)
    r = np.linalg.norm(one, axis=1)
    off = np.angle(np.exp(1j * (np.arctan2(one[:, 1], one[:, 0]) - 3 * np.pi * r))) * r
    assert np.abs(off[r > 0.2]).max() < 0.02 * 4.5 * (1 + 3 * np.pi)


def test_points_depend_on_the_seed_and_more_of_them_begin_the_same() -> None:
    assert np.array_equal(toy_points("moons", 10, seed=1).x, toy_points("moons", 20, seed=1).x[:10])
    assert not np.array_equal(toy_points("moons", 10, seed=1).x, toy_points("moons", 10, seed=2).x)
    with pytest.raises(ValueError, match="got n = 0"):
        toy_points("moons", 0)
