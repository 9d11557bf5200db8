"""Cost of a batch of every source, and how long a step of 30 ms waits for it.

Run with ``pytest bench/bench_data.py --benchmark-enable``; on a busy machine ``-k a_batch`` and
``--benchmark-timer=time.process_time`` gives the CPU time of a batch. Files are written for it, of random pixels,
which are slower to decode than photographs.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.training.data import (
    Arrays,
    Augmentation,
    CifarBinary,
    DataConfig,
    Digits,
    ImageFolder,
    MnistIdx,
    Toy,
    open_dataset,
)
from tests.training.data.files import cifar_record, mnist

SIZE: Final = 128
STEP: Final = 0.030
RNG: Final = np.random.default_rng(0)


def images(n: int, side: int) -> np.ndarray:
    return RNG.integers(0, 256, (n, side, side, 3), np.uint8)


def idx_files(folder: Path) -> DataConfig:
    mnist(folder, n=20_000)
    return MnistIdx(path=folder)


def cifar_files(folder: Path) -> DataConfig:
    for i in range(1, 6):
        content = b"".join(cifar_record([0], image) for image in images(2000, 32))
        (folder / f"data_batch_{i}.bin").write_bytes(content)
    return CifarBinary(path=folder, augmentation=Augmentation(flip=True, shift=2))


def mapped_file(folder: Path) -> DataConfig:
    np.save(folder / "x.npy", images(10_000, 32))
    return Arrays(path=folder / "x.npy")


def image_files(folder: Path, side: int, suffix: str) -> DataConfig:
    for i, image in enumerate(images(500, side)):
        Image.fromarray(image).save(folder / f"{i}{suffix}")
    return ImageFolder(path=folder, size=32, augmentation=Augmentation(flip=True))


SOURCES: Final[dict[str, Callable[[Path], DataConfig]]] = {
    "digits": lambda _: Digits(),
    "toy": lambda _: Toy(),
    "idx 4x3": idx_files,
    "cifar, flipped and shifted": cifar_files,
    "npy 32x32, mapped": mapped_file,
    "png 32x32": lambda folder: image_files(folder, 32, ".png"),
    "jpeg 256x256 to 32x32": lambda folder: image_files(folder, 256, ".jpg"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_batch(benchmark: BenchmarkFixture, source: str, tmp_path: Path) -> None:
    """One batch of 128 in this process."""
    batches = open_dataset(SOURCES[source](tmp_path)).batches(SIZE, seed=0)
    benchmark(lambda: next(batches))
    benchmark.extra_info["images"] = SIZE


@pytest.mark.parametrize(
    ("source", "workers"),
    [(source, 0) for source in ("digits", "cifar, flipped and shifted")]
    + [(source, 2) for source in ("digits", "npy 32x32, mapped", "png 32x32", "jpeg 256x256 to 32x32")],
)
def test_a_step_waits(benchmark: BenchmarkFixture, source: str, workers: int, tmp_path: Path) -> None:
    """Wait for a batch of 128 in a step that takes 30 ms on an accelerator."""
    with open_dataset(SOURCES[source](tmp_path)).batches(SIZE, seed=0, workers=workers) as batches:
        for _ in range(10):
            next(batches)

        def step() -> float:
            start = time.perf_counter()
            next(batches)
            waited = time.perf_counter() - start
            time.sleep(STEP)
            return waited

        waits = [step() for _ in range(100)]
    benchmark.extra_info["median_wait_ms"] = round(1e3 * float(np.median(waits)), 2)
    benchmark.extra_info["share_of_the_time"] = round(sum(waits) / (sum(waits) + len(waits) * STEP), 3)
    benchmark(lambda: None)
