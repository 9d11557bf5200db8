"""Tiny files in the formats of well-known sets."""

import gzip
import struct
from pathlib import Path

import numpy as np


def idx(path: Path, array: np.ndarray, *, magic: bytes = b"\0\0\x08", cut: int = 0) -> Path:
    """An idx file by its description: two zeros, the type, the rank, big-endian sizes, bytes; short by ``cut``."""
    content = magic + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    content = content[: len(content) - cut]
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def mnist(folder: Path, n: int = 5, suffix: str = "", prefix: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of what was written."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (n, 4, 3), np.uint8), np.arange(n, dtype=np.uint8) % 10
    idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", x)
    idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", y)
    return x, y


def cifar_record(labels: list[int], image: np.ndarray) -> bytes:
    """Labels, then all red, all green, all blue pixels, row by row."""
    return bytes(labels) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
