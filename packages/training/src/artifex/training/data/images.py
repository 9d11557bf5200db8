"""Labeled images in memory, and the digits of scikit-learn."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

from artifex.training.data.order import batch_indices

Images = Float32[np.ndarray, "n h w c"]
"""Images, in [-1, 1]."""
Labels = Int32[np.ndarray, " n"]
"""One class an image, at least 0."""


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images with one label each.

    Attributes:
        images: ``(n, height, width, channels)``, float32 in [-1, 1], n at least 1.
        labels: ``(n,)``, int32, at least 0.

    Raises:
        ValueError: if there are no images, another number of labels, or a negative label.
    """

    images: Images
    labels: Int32[np.ndarray, "..."]

    def __post_init__(self) -> None:
        if len(self.images) == 0 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"images and labels must be as many and at least 1, got {self.images.shape} and {self.labels.shape}"
            )
        if self.labels.min() < 0:
            raise ValueError(f"labels must be at least 0, got {self.labels.min()}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    def batch(self, step: int, size: int, seed: int) -> tuple[Images, Labels]:
        """Return the batch of training step ``step``; see ``batch_indices``."""
        indices = batch_indices(len(self), size, seed, step)
        return self.images[indices], self.labels[indices]


def digits() -> LabeledImages:
    """Load scikit-learn's 1,797 handwritten digits: 8x8 pixels, 17 shades, ink 1 on paper -1.

    References: Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return LabeledImages((pixels.reshape(-1, 8, 8, 1) / 8 - 1).astype(np.float32), labels.astype(np.int32))
