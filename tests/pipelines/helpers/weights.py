"""Weights, noise, pictures and prompts of small pipelines, made by NumPy with and without PyTorch."""

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

LOGVAR: Final = -30.0
"""The log-variance of the autoencoder's posterior, of which a draw is the mean to float32's rounding."""


def weight(key: str, shape: Sequence[int]) -> np.ndarray:
    """Values that depend on the name: about 1 for the scale of a norm; else about 0, of the variance 1 / inputs."""
    draws = np.random.default_rng(zlib.crc32(key.encode())).random(tuple(shape)) - 0.5
    if len(shape) == 1:
        out = 1 + 0.5 * draws if key.endswith("weight") else 0.2 * draws
    else:
        out = draws * (12 / np.prod(shape[1:])) ** 0.5
    if key == "quant_conv.weight":
        out[shape[0] // 2 :] = 0
    if key == "quant_conv.bias":
        out[shape[0] // 2 :] = LOGVAR
    return out.astype(np.float32)


def noise(shape: Sequence[int]) -> np.ndarray:
    """Standard normal numbers, channels last; the same for the same shape."""
    return np.random.default_rng(7).standard_normal(tuple(shape)).astype(np.float32)


def picture(height: int, width: int) -> Image.Image:
    """A picture of colored waves."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(0.7 * x + 0.3 * y), np.cos(0.5 * y), np.sin(0.4 * x * y / width)]
    return Image.fromarray(np.round(127.5 + 120 * np.stack(waves, -1)).astype(np.uint8))


def mask(height: int, width: int) -> Image.Image:
    """White in a part that is not symmetric."""
    out = np.zeros((height, width), np.uint8)
    out[height // 4 : height - 2, : width // 2] = 255
    return Image.fromarray(out)
