"""The files that ``artifex demo`` wrote: there, readable, and with something in them.

uv run python -m tooling.demo FOLDER
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = ("samples.png", "denoising.png", "loss.png")
METRICS = {"loss", "near_copies", "parameters", "seed", "spread_ratio", "steps"}


def complaints(folder: Path) -> Iterator[str]:
    """Complain of files in ``folder`` that are missing, unreadable, blank or not finite."""
    for name in (*PICTURES, "samples.npz", "metrics.json"):
        if not (folder / name).is_file():
            yield f"{name}: expected a file, got none"
            return
    for name in PICTURES:
        pixels = np.asarray(Image.open(folder / name).convert("L"))
        if pixels.min() == pixels.max():
            yield f"{name}: expected a picture, got {pixels.shape[1]} x {pixels.shape[0]} pixels of one gray"
    with np.load(folder / "samples.npz") as arrays:
        images, labels = (arrays[key] for key in arrays.files)
    if images.shape != (100, 8, 8, 1) or not np.all(np.abs(images) <= 1) or not np.ptp(images) > 1:
        found = f"shape {images.shape}, values from {images.min()} to {images.max()}"
        yield f"samples.npz: expected images (100, 8, 8, 1) in [-1, 1] that use most of the range, got {found}"
    if sorted(labels.tolist()) != sorted([*range(10)] * 10):
        yield f"samples.npz: expected ten labels of each class, got {labels.tolist()}"
    values = dict(numbers(json.loads((folder / "metrics.json").read_text())))
    for name in sorted(METRICS - values.keys()):
        yield f"metrics.json: {name}: expected a number, got none"
    for name, number in values.items():
        if not math.isfinite(number):
            yield f"metrics.json: {name}: expected a finite number, got {number}"


def numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of parsed JSON with its dotted name."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from numbers(item, f"{name}[{index}]")
    elif isinstance(value, float | int):
        yield name, float(value)


def main() -> int:
    """Print every complaint; return the exit status."""
    found = list(complaints(Path(sys.argv[1])))
    print("\n".join(found) if found else "pictures, samples and metrics are there and in range")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
