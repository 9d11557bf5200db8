"""Images in memory, and batches that are a pure function of (seed, step)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Int, Int32

Images = Float32[np.ndarray, "n h w c"]
Labels = Int32[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with one label each.

    Attributes:
        images: ``(n, height, width, channels)``, float32 in [-1, 1], n at least 1.
        labels: ``(n,)``, int32, at least 0.

    Raises:
        ValueError: if there are no images, not as many labels, or a negative one.
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
        """The batch of training step ``step``; see ``batch_indices``."""
        indices = batch_indices(len(self), size, seed, step)
        return self.images[indices], self.labels[indices]


def digits() -> LabelledImages:
    """The 1,797 handwritten digits that scikit-learn ships: 8x8 pixels, 17 shades, ink 1 on paper -1.

    References: Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return LabelledImages((pixels.reshape(-1, 8, 8, 1) / 8 - 1).astype(np.float32), labels.astype(np.int32))


def batch_indices(n: int, size: int, seed: int, step: int) -> Int[np.ndarray, " size"]:
    """Which of ``n`` examples make the batch of ``step``.

    All batches in a row are one stream of shuffled epochs: every ``n`` examples of it, counted from the first, are a
    permutation. Nothing is left out where ``size`` does not divide ``n``, and no state is kept: a run that starts in
    the middle sees what an uninterrupted one sees.

    Args:
        n: number of examples, at least 1.
        size: examples a batch, at least 1; may exceed ``n``.
        seed: in [0, 2^64).
        step: counted from 0.

    Raises:
        ValueError: for values outside those ranges.
    """
    if n < 1 or size < 1 or step < 0 or not 0 <= seed < 2**64:
        raise ValueError(
            "n and size must be at least 1, step at least 0 and seed in [0, 2^64), "
            f"got n = {n}, size = {size}, step = {step} and seed = {seed}"
        )
    first, last = step * size // n, ((step + 1) * size - 1) // n
    stream = np.concatenate([_permutation(n, seed, epoch) for epoch in range(first, last + 1)])
    start = step * size - first * n
    return stream[start : start + size]


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """The order of an epoch: ranks of raw Philox words, the one stream of NumPy that is promised never to change."""
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(n)
    order = np.argsort(words, kind="stable")
    order.setflags(write=False)
    return order
