"""Random augmentation of images that preserves their class."""

from typing import Final

import numpy as np
from jaxtyping import Float32, UInt64
from pydantic import Field

from artifex.training.section import Section

WORDS: Final = 3
"""Number of random words for an image."""


class Augmentation(Section):
    """Random changes of the images in each epoch; none by default.

    They depend on seed, epoch and index of the image alone.

    Attributes:
        flip: mirror left to right with probability one half.
        shift: largest translation in pixels, vertically and horizontally; the border is repeated.
    """

    flip: bool = False
    shift: int = Field(default=0, ge=0)

    def __bool__(self) -> bool:
        return self.flip or self.shift > 0

    def __call__(
        self, x: Float32[np.ndarray, "b h w c"], words: UInt64[np.ndarray, "b 3"]
    ) -> Float32[np.ndarray, "b h w c"]:
        """Augment images, each by its own uniform words."""
        if self.flip:
            flipped = words[:, 0] >> np.uint64(63) == 1
            x = x.copy()
            x[flipped] = x[flipped, :, ::-1]
        if self.shift:
            k, (height, width) = self.shift, x.shape[1:3]
            offsets = (words[:, 1:] % np.uint64(2 * k + 1)).astype(np.int64)
            padded = np.pad(x, ((0, 0), (k, k), (k, k), (0, 0)), mode="edge")
            x = np.stack(
                [
                    image[top : top + height, left : left + width]
                    for image, (top, left) in zip(padded, offsets, strict=True)
                ]
            )
        return x
