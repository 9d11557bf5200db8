r"""The Inception score: confident predictions that are spread evenly over the classes.

$$\mathrm{IS} = \exp \mathbb E_x\,\mathrm{KL}\bigl(p(y \mid x) \,\|\, p(y)\bigr)$$

It ranges from 1, if all samples have the same probabilities, to the number of classes. It does not depend on real
samples.

References: Salimans et al. 2016, https://arxiv.org/abs/1606.03498
"""

from typing import Final

import numpy as np
from jaxtyping import Float

from artifex.kernels.ranges import check_whole
from artifex.training.evaluation.features import Features
from artifex.training.evaluation.score import Score

SPLITS: Final = 10


def check_splits(splits: int, n: int, features: Features) -> None:
    """Raise a ValueError for features without probabilities, or too few samples for ``splits`` parts."""
    if features.probabilities is None:
        raise ValueError(f"features must come with class probabilities, got none from {features.extractor}")
    check_whole("splits", splits, 1)
    if n < 2 * splits:
        raise ValueError(f"splits = {splits} needs at least {2 * splits} samples, got {n}")


def inception_score(generated: Features, *, splits: int = SPLITS, seed: int = 0) -> Score:
    """Compute the mean over ``splits`` parts of the shuffled samples, with its standard error.

    Args:
        generated: with class probabilities.
        splits: in [1, half the samples]; 1 gives no standard error. The score decreases with the size of the parts:
            with few samples a class it can't approach the number of classes.
        seed: of the shuffle; samples in order of class would score 1.

    Raises:
        ValueError: without probabilities, or for ``splits`` out of range.
    """
    n = generated.count
    check_splits(splits, n, generated)
    check_whole("seed", seed, 0)
    assert generated.probabilities is not None
    order = np.random.default_rng(seed).permutation(n)
    scores = [_of_one(generated.probabilities[part]) for part in np.array_split(order, splits)]
    error = None if splits == 1 else float(np.std(scores, ddof=1) / np.sqrt(splits))
    value = float(np.mean(scores))
    return Score("inception_score", value, error, "higher", generated.extractor, n, None, {"splits": splits})


def _of_one(probabilities: Float[np.ndarray, "n c"]) -> float:
    """Compute the score of one part: the entropy of the mean minus the mean of the entropies."""
    table = probabilities.astype(np.float64)
    table /= table.sum(axis=1, keepdims=True)
    return float(np.exp(_entropy(table.mean(0)) - np.mean(_entropy(table))))


def _entropy(table: Float[np.ndarray, "*n c"]) -> Float[np.ndarray, "*n"] | float:
    """Compute the entropy in nats, with 0 log 0 = 0."""
    out: Float[np.ndarray, "*n"] = -np.sum(table * np.log(np.where(table > 0, table, 1)), axis=-1)
    return out
