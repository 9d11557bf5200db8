"""Weights and images for Inception v3 that need not be stored: pure functions of their names."""

from collections.abc import Mapping
from zlib import crc32

import numpy as np


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """From raw words of Philox, which every version of NumPy gives alike."""
    words = np.random.Philox(key=crc32(name.encode())).random_raw(int(np.prod(shape)))
    return (low + (high - low) * ((words >> np.uint64(40)) / 2.0**24)).astype(np.float32).reshape(shape)


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Parameters of a network with stable maps and different classes."""
    out = {}
    for name, shape in shapes.items():
        if name.endswith("conv.weight"):
            low, high = np.array([-1, 1]) * np.sqrt(6 / np.prod(shape[1:]))
        elif name.endswith(("running_var", "bn.weight")):
            low, high = 0.5, 1.5
        elif name == "fc.weight":
            low, high = -0.01, 0.01
        else:
            low, high = -0.1, 0.1
        out[name] = uniform(name, shape, float(low), float(high))
    return out


def images(side: int) -> np.ndarray:
    """Two images in [-1, 1], not square and not smooth."""
    return uniform("images", (2, side, side + 9, 3), -1, 1)
