"""Problems with denoisers in closed form, and a float64 run of a table that is independent of the scan."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from artifex.samplers import Tableau
from artifex.schedules import NoiseLevel
from artifex.schedules.arrays import HostArray

Denoise = Callable[[HostArray, float, float], HostArray]


@dataclass(frozen=True)
class Mixture:
    """One-dimensional data: a mixture of Gaussians."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]

    def _parts(self, alpha: float, sigma: float) -> tuple[HostArray, HostArray, HostArray]:
        means, stds = np.asarray(self.means), np.asarray(self.stds)
        return means, stds**2, alpha**2 * stds**2 + sigma**2

    def denoise(self, x: HostArray, alpha: float, sigma: float) -> HostArray:
        means, variances, noisy = self._parts(alpha, sigma)
        off = np.asarray(x)[..., None] - alpha * means
        logits = np.log(self.weights) - 0.5 * np.log(noisy) - 0.5 * off**2 / noisy
        share = np.exp(logits - logits.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        return np.asarray(np.sum(share * (means + alpha * variances / noisy * off), axis=-1))

    def flow(self, x: float, a: NoiseLevel[HostArray], b: NoiseLevel[HostArray]) -> float:
        """The image of ``x`` under the probability flow, which in one dimension preserves quantiles."""
        goal, low, high = self._quantile(x, a), -50.0, 50.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if self._quantile(middle, b) < goal else (low, middle)
        return (low + high) / 2

    def _quantile(self, x: float, level: NoiseLevel[HostArray]) -> float:
        means, _, noisy = self._parts(float(level.alpha), float(level.sigma))
        off = (x - level.alpha * means) / np.sqrt(2 * noisy)
        return sum(w * math.erfc(-z) / 2 for w, z in zip(self.weights, off, strict=True))


GAUSSIAN = Mixture((1.0,), (0.4,), (0.5,))
BIMODAL = Mixture((0.3, 0.7), (-0.8, 0.6), (0.2, 0.3))


def at(level: NoiseLevel[HostArray], i: int) -> NoiseLevel[HostArray]:
    return NoiseLevel(t=np.asarray(level.t[i]), alpha=np.asarray(level.alpha[i]), sigma=np.asarray(level.sigma[i]))


def walk(
    table: Tableau[HostArray],
    denoise: Denoise,
    x: HostArray,
    noise: HostArray | None = None,
    exact: Mapping[int, HostArray] | None = None,
) -> HostArray:
    """The run of a table by its definition; ``exact`` replaces the results of chosen rows."""
    x_e = x_b = np.asarray(x, np.float64)
    history = [np.zeros_like(x_e)] * (table.evaluate.shape[1] - 3)
    for i in range(table.rows):
        z = np.zeros_like(x_e) if noise is None else noise[i]
        newest = denoise(x_e, table.level.alpha[i], table.level.sigma[i])
        old, kept = x_e, table.keep[i, 0] * x_e + table.keep[i, 1] * newest
        x_b = (
            sum(w * s for w, s in zip(table.base[i], [old, x_b, newest, *history], strict=True))
            + table.base_noise[i] * z
        )
        x_e = (
            sum(w * s for w, s in zip(table.evaluate[i], [old, x_b, newest, *history], strict=True))
            + table.noise[i] * z
        )
        history = [kept, *history][: len(history)]
        if exact and i in exact:
            x_b, x_e = old, exact[i]
    return x_e
