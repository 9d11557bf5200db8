"""Recognizability and diversity of generated images of classes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32

from artifex.training.data import Images, LabeledImages, Labels


@dataclass(frozen=True)
class Recognition:
    """The predictions of a classifier of real images for generated ones.

    Attributes:
        share: proportion of the generated images that are recognized as their class.
        held_out: accuracy of the classifier on a quarter of the real images, trained on the others.
    """

    share: float
    held_out: float


def recognize(images: Images, labels: Labels, real: LabeledImages) -> Recognition:
    """Classify ``images`` with a support vector machine trained on all of ``real``.

    Args:
        images: generated, in the range of ``real``.
        labels: the requested class of each image.
        real: at least 8 images of each class.
    """
    from sklearn.model_selection import train_test_split
    from sklearn.svm import SVC

    known = flat(real.images)
    train, test, train_labels, test_labels = train_test_split(
        known, real.labels, test_size=0.25, stratify=real.labels, random_state=0
    )
    held_out = SVC().fit(train, train_labels).score(test, test_labels)
    predicted = SVC().fit(known, real.labels).predict(flat(images))
    return Recognition(share=float(np.mean(predicted == labels)), held_out=float(held_out))


def spread_ratio(images: Images, labels: Labels, real: LabeledImages) -> float:
    r"""Compute the spread within a class, generated over real: 1 is that of the data, 0 is one image a class.

    $$\frac{\mathrm{mean}_c\, \mathrm{mean}_p\, \mathrm{std}_{i \in c}\, x_{ip}}
           {\mathrm{the\ same\ of\ the\ real\ images}}$$

    Standard deviations have Bessel's correction, so a class may be small on one side.

    Args:
        images: generated.
        labels: their classes; only these are compared, and each needs two images on either side.
        real: real images.

    Raises:
        ValueError: if a class has fewer than two images.
    """
    ratio = _spread(images, labels, np.unique(labels)) / _spread(real.images, real.labels, np.unique(labels))
    return float(ratio)


def flat(images: Images) -> Float[np.ndarray, "n d"]:
    """Flatten each image to a row in float64: brute-force distances lose half their digits."""
    return images.reshape(len(images), -1).astype(np.float64)


def _spread(images: Images, labels: Labels, classes: Int32[np.ndarray, " k"]) -> float:
    """Compute the mean over classes of the mean over pixels of the standard deviation."""
    out = []
    for label in classes:
        members = flat(images[labels == label])
        if len(members) < 2:
            raise ValueError(f"class {label} must have at least two images, got {len(members)}")
        out.append(members.std(axis=0, ddof=1).mean())
    return float(np.mean(out))
