"""Memorization: generated images that are copies of training images."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from artifex.kernels.ranges import check_number
from artifex.training.data import Images
from artifex.training.evaluation.recognition import flat


@dataclass(frozen=True)
class Memorization:
    """Distances of generated images to training images, compared with those between training images.

    Attributes:
        share: proportion of the generated images whose nearest training image is nearer than ``threshold``.
        threshold: the given percentile of the distances from a training image to the nearest other one.
        nearest: mean distance from a generated image to the nearest training image.
        nearest_real: mean distance from a training image to the nearest other one.
    """

    share: float
    threshold: float
    nearest: float
    nearest_real: float


def memorization(images: Images, real: Float32[np.ndarray, "m h w c"], percentile: float = 1.0) -> Memorization:
    """Compare nearest neighbors in Euclidean distance over all pixels.

    Args:
        images: generated.
        real: training images, at least two.
        percentile: in [0, 100].

    Raises:
        ValueError: for a percentile outside of that range.
    """
    check_number("percentile", percentile, 0, 100)
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(flat(real))
    nearest = index.kneighbors(flat(images))[0][:, 0]
    nearest_real = index.kneighbors()[0][:, 0]
    threshold = float(np.percentile(nearest_real, percentile))
    return Memorization(
        share=float(np.mean(nearest < threshold)),
        threshold=threshold,
        nearest=float(nearest.mean()),
        nearest_real=float(nearest_real.mean()),
    )
