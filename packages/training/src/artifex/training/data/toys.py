r"""Toy distributions in the plane, in closed form, inside or close to $[-1, 1]^2$.

A point is computed from uniform words alone, so its bits depend on name and seed and on no library's generator.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32

from artifex.training.data.order import uniform

ToyName = Literal["moons", "spirals", "checkerboard", "gaussians"]
"""The toy distributions in the plane."""


class Points(NamedTuple):
    """Points, each labeled by its part of the figure.

    Attributes:
        x: ``(n, 2)``.
        labels: ``(n,)``.
    """

    x: Float32[np.ndarray, "n 2"]
    labels: Int32[np.ndarray, " n"]


Uniforms = Float64[np.ndarray, "n 4"]
Figure = tuple[Float64[np.ndarray, "n 2"], Int32[np.ndarray, " n"]]


def _moons(u: Uniforms) -> Figure:
    r"""Two half circles, $(\cos\theta - \frac12, \sin\theta - \frac14) / 1.5$ and its point reflection."""
    label, theta = (u[:, 0] < 0.5).astype(np.int32), np.pi * u[:, 1]
    arc = np.stack([np.cos(theta) - 0.5, np.sin(theta) - 0.25], 1) / 1.5
    return _signed(arc, label) + 0.05 * _normal(u), label


def _spirals(u: Uniforms) -> Figure:
    r"""Two arms, $r\,(\cos 3\pi r, \sin 3\pi r)$ with $r^2$ uniform in [0, 1) and its point reflection."""
    label, r = (u[:, 0] < 0.5).astype(np.int32), np.sqrt(u[:, 1])
    arm = r[:, None] * np.stack([np.cos(3 * np.pi * r), np.sin(3 * np.pi * r)], 1)
    return _signed(arm, label) + 0.02 * _normal(u), label


def _checkerboard(u: Uniforms) -> Figure:
    """Uniform on the 8 fields of a 4x4 board whose row and column have an even sum."""
    label = np.floor(8 * u[:, 0]).astype(np.int32)
    row = label // 2
    column = 2 * (label % 2) + row % 2
    return np.stack([column + u[:, 1], row + u[:, 2]], 1) / 2 - 1, label


def _gaussians(u: Uniforms) -> Figure:
    """Eight normal distributions of standard deviation 0.05, evenly on a circle of radius 0.75."""
    label = np.floor(8 * u[:, 0]).astype(np.int32)
    angle = np.pi / 4 * label
    return 0.75 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.05 * _normal(u), label


def _signed(x: Float64[np.ndarray, "n 2"], label: Int32[np.ndarray, " n"]) -> Float64[np.ndarray, "n 2"]:
    """Point-reflect ``x`` where the label is 1."""
    return np.where(label[:, None] == 1, -x, x)


def _normal(u: Uniforms) -> Float64[np.ndarray, "n 2"]:
    """Compute standard normal pairs from the last two uniforms, by Box and Muller."""
    angle = 2 * np.pi * u[:, 3]
    radius = np.sqrt(-2 * np.log1p(-u[:, 2]))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


class _Toy(NamedTuple):
    figure: Callable[[Uniforms], Figure]
    parts: int


TOYS: Final[Mapping[ToyName, _Toy]] = MappingProxyType(
    {
        "moons": _Toy(_moons, 2),
        "spirals": _Toy(_spirals, 2),
        "checkerboard": _Toy(_checkerboard, 8),
        "gaussians": _Toy(_gaussians, 8),
    }
)


def toy_points(name: ToyName, n: int, seed: int = 0) -> Points:
    """Compute ``n`` points of a figure; the first ones are those of any smaller ``n``.

    Args:
        name: ``"moons"``: two half circles with noise 0.05; ``"spirals"``: two arms with noise 0.02;
            ``"checkerboard"``: 8 fields of a 4x4 board; ``"gaussians"``: 8 of them on a circle.
        n: at least 1.
        seed: in [0, 2^64).

    Raises:
        ValueError: for an unknown name or values out of range.
    """
    if name not in TOYS:
        raise ValueError(f"name must be one of {', '.join(TOYS)}, got {name!r}")
    if n < 1 or not 0 <= seed < 2**64:
        raise ValueError(f"n must be at least 1 and seed in [0, 2^64), got n = {n} and seed = {seed}")
    x, labels = TOYS[name].figure(uniform(seed, n, 4))
    return Points(x.astype(np.float32), labels)
