r"""The sliced Wasserstein distance: the mean over directions of the distance of the projections.

$$\mathrm{SW}_2^2 = \mathbb E_\theta \int_0^1 \bigl(F^{-1}_{\theta^\top x}(u) - F^{-1}_{\theta^\top y}(u)\bigr)^2 du$$

On a line the optimal transport keeps the order, so each direction costs a sort. For equal covariances and means that
differ by $\delta$, the distance is $|\delta| / \sqrt d$.

References: Rabin et al. 2012, https://doi.org/10.1007/978-3-642-24785-9_37; Bonneel et al. 2015,
https://doi.org/10.1007/s10851-014-0506-3
"""

import numpy as np
from jaxtyping import Float64

from artifex.kernels.ranges import check_whole
from artifex.training.evaluation.features import Features, check_comparable
from artifex.training.evaluation.score import Score

GROUP = 64
"""Number of directions to project on at a time."""


def sliced_wasserstein(generated: Features, real: Features, *, directions: int = 512, seed: int = 0) -> Score:
    """Compute the distance of two samples, in units of the features, with its standard error over directions.

    It exceeds the distance of the distributions by about one over the root of the smaller count. The counts may differ:
    the quantile functions are compared exactly.

    Args:
        generated: of generated samples.
        real: of real samples.
        directions: number of random directions, at least 2.
        seed: of the directions.

    Raises:
        ValueError: for sets of two extractors, features without rows, or fewer than 2 directions.
    """
    check_comparable(generated, real)
    check_whole("directions", directions, 2)
    check_whole("seed", seed, 0)
    x, y = generated.exact, real.exact
    theta = np.random.default_rng(seed).standard_normal((directions, x.shape[1]))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    costs = np.concatenate([_on_lines(x @ t.T, y @ t.T) for t in np.array_split(theta, -(-directions // GROUP))])
    value = float(np.sqrt(costs.mean()))
    # d sqrt(c) = dc / 2 sqrt(c)
    error = float(costs.std(ddof=1) / np.sqrt(directions)) / (2 * value) if value else 0.0
    settings = {"p": 2, "directions": directions}
    return Score("sliced_wasserstein", value, error, "lower", generated.extractor, len(x), len(y), settings)


def _on_lines(x: Float64[np.ndarray, "n k"], y: Float64[np.ndarray, "m k"]) -> Float64[np.ndarray, " k"]:
    """Compute the squared distance of each pair of columns."""
    n, m = len(x), len(y)
    x, y = np.sort(x, axis=0), np.sort(y, axis=0)
    # Both quantile functions are constant between these points, in units of 1 / nm.
    points = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    left, width = points[:-1], np.diff(points) / (n * m)
    out: Float64[np.ndarray, " k"] = width @ (x[left // m] - y[left // n]) ** 2
    return out
