r"""Improved precision and recall: the fidelity and the diversity of generated samples.

A set's manifold is the union of balls around its samples, each as large as the distance to the k-th nearest other:

$$\mathrm{precision} = \frac1M \sum_j 1\bigl[\exists i : |y_j - x_i| \le r_k(x_i)\bigr]$$

for generated $y$ and real $x$; recall is the same with the two exchanged.

References: Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991
"""

import math
from typing import Final

import numpy as np
from jaxtyping import Bool

from artifex.kernels.ranges import check_whole
from artifex.training.evaluation.distances import blocks, radii, squared
from artifex.training.evaluation.features import Features, check_comparable
from artifex.training.evaluation.score import Score

K: Final = 3


def precision_recall(generated: Features, real: Features, *, k: int = K) -> tuple[Score, Score]:
    """Compute both, with the standard error of a proportion, the other set fixed.

    Both depend on the sizes of the sets: compare scores of equal counts only.

    Args:
        generated: of generated samples.
        real: of real samples.
        k: the nearest neighbor that is the radius of a ball, in [1, the smaller count - 1].

    Raises:
        ValueError: for sets of two extractors, features without rows, or k out of range.
    """
    check_comparable(generated, real)
    x, y = real.kept, generated.kept
    check_k(k, len(y), len(x))
    radius_x, radius_y = radii(x, k), radii(y, k)
    real_inside, generated_inside = np.zeros(len(x), bool), np.zeros(len(y), bool)
    for i in blocks(len(x)):
        for j in blocks(len(y)):
            distances = squared(x[i], y[j])
            real_inside[i] |= (distances <= radius_y[j]).any(axis=1)
            generated_inside[j] |= (distances <= radius_x[i][:, None]).any(axis=0)

    def score(metric: str, inside: Bool[np.ndarray, " n"]) -> Score:
        value = float(inside.mean())
        return Score(
            metric, value, share_error(value, len(inside)), "higher", generated.extractor, len(y), len(x), {"k": k}
        )

    return score("precision", generated_inside), score("recall", real_inside)


def share_error(share: float, n: int) -> float:
    """Compute the standard error of a proportion of n samples, with one more on either side so that it is never 0."""
    p = (n * share + 1) / (n + 2)
    return math.sqrt(p * (1 - p) / n)


def check_k(k: int, generated: int, real: int) -> None:
    """Raise a ValueError if one of the sets has no k-th nearest neighbor."""
    check_whole("k", k, 1)
    if min(generated, real) <= k:
        raise ValueError(
            f"k = {k} needs at least {k + 1} samples of either kind, got {generated} generated and {real} real"
        )
