r"""Density and coverage: precision and recall that are robust to outliers.

$$\mathrm{density} = \frac{1}{kM} \sum_j \sum_i 1\bigl[|y_j - x_i| < r_k(x_i)\bigr],\qquad
  \mathrm{coverage} = \frac1N \sum_i 1\bigl[\min_j |y_j - x_i| < r_k(x_i)\bigr]$$

for M generated $y$, N real $x$, and $r_k(x_i)$ the distance from $x_i$ to its k-th nearest other real sample. For two
sets of one distribution the expected density is 1, and the expected coverage
$1 - \frac{(N-1)\cdots(N-k)}{(M+N-1)\cdots(M+N-k)}$.

References: Naeem et al. 2020, https://arxiv.org/abs/2002.09797
"""

import math
from typing import Final

import numpy as np

from artifex.training.evaluation.distances import blocks, radii, squared
from artifex.training.evaluation.features import Features, check_comparable
from artifex.training.evaluation.manifold import check_k, share_error
from artifex.training.evaluation.score import Score

K: Final = 5


def density_coverage(generated: Features, real: Features, *, k: int = K) -> tuple[Score, Score]:
    """Compute both, with standard errors: density's over generated samples, coverage's over real ones.

    Args:
        generated: of generated samples.
        real: of real samples, whose k-th nearest neighbors are the radii of the balls.
        k: in [1, the smaller count - 1].

    Raises:
        ValueError: for sets of two extractors, features without rows, or k out of range.
    """
    check_comparable(generated, real)
    x, y = real.kept, generated.kept
    check_k(k, len(y), len(x))
    radius = radii(x, k)
    balls, covered = np.zeros(len(y)), np.zeros(len(x), bool)
    for i in blocks(len(x)):
        for j in blocks(len(y)):
            inside = squared(x[i], y[j]) < radius[i][:, None]
            balls[j] += inside.sum(axis=0)
            covered[i] |= inside.any(axis=1)
    density, coverage = float(balls.mean() / k), float(covered.mean())

    def score(metric: str, value: float, error: float) -> Score:
        return Score(metric, value, error, "higher", generated.extractor, len(y), len(x), {"k": k})

    return (
        score("density", density, float(balls.std(ddof=1) / k / math.sqrt(len(y)))),
        score("coverage", coverage, share_error(coverage, len(x))),
    )
