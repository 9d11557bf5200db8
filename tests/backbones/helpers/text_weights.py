"""Weights of small networks, made from names and shapes alone, with and without PyTorch."""

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def weight(key: str, shape: Sequence[int]) -> np.ndarray:
    """Values that depend on the name: about 1 for the scale of a norm, else about 0."""
    draws = np.random.default_rng(zlib.crc32(key.removeprefix("text_model.").encode())).random(tuple(shape)) - 0.5
    if key.endswith(("norm.weight", "norm1.weight", "norm2.weight", "norm3.weight", "norm_out.weight")):
        return (1 + 0.5 * draws).astype(np.float32)
    return (draws * (6 / math.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.2 * draws).astype(np.float32)


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """The weights of every name."""
    return {key: weight(key, shape) for key, shape in shapes.items()}
