from pathlib import Path

import numpy as np
import pytest

from artifex.training.data import CifarBinary, open_dataset, summary
from artifex.training.data.cifar import Labeling
from tests.training.data.files import cifar_record

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


def cifar10(folder: Path) -> None:
    """An image a file."""
    for i, image in enumerate(IMAGES):
        (folder / f"data_batch_{i + 1}.bin").write_bytes(cifar_record([9 - i], image))


def test_records_are_planes_behind_a_label(tmp_path: Path) -> None:
    cifar10(tmp_path)
    data = open_dataset(CifarBinary(path=tmp_path))
    assert (len(data), data.shape, data.num_classes) == (5, (32, 32, 3), 10)
    for i in range(5):
        x, label = data.source[i]
        assert np.array_equal(np.rint((x + 1) * 127.5), IMAGES[i])
        assert label == 9 - i


@pytest.mark.parametrize(
    ("labels", "classes", "expected"), [("cifar100", 100, [99, 3]), ("cifar100_coarse", 20, [19, 7])]
)
def test_either_label_of_cifar100(tmp_path: Path, labels: Labeling, classes: int, expected: list[int]) -> None:
    content = cifar_record([19, 99], IMAGES[0]) + cifar_record([7, 3], IMAGES[1])
    (tmp_path / "test.bin").write_bytes(content)
    data = open_dataset(CifarBinary(path=tmp_path, labels=labels, split="test"))
    assert (data.num_classes, [data.source[i][1] for i in range(2)]) == (classes, expected)
    assert np.array_equal(np.rint((data.source[1][0] + 1) * 127.5), IMAGES[1])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "records of 3073 bytes and at least one, got 0 bytes"),
        (cifar_record([1], IMAGES[0])[:-1], "3073 bytes and at least one, got 3072 bytes"),
        (cifar_record([1, 2], IMAGES[0]), "got 3074 bytes"),
        (cifar_record([1], IMAGES[0]) + cifar_record([10], IMAGES[0]), r"labels must be in 0\.\.9, got 10 of image 1"),
    ],
)
def test_broken_files_are_refused_by_their_path(tmp_path: Path, content: bytes, says: str) -> None:
    cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(ValueError, match=rf"data_batch_3\.bin.*{says}"):
        open_dataset(CifarBinary(path=tmp_path))


def test_missing_files_are_named(tmp_path: Path) -> None:
    cifar10(tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold data_batch_4\.bin, got data_batch_1\.bin, "):
        open_dataset(CifarBinary(path=tmp_path))


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The published order of the labels: batches.meta.txt, and torchvision's ``CIFAR10(...).classes``."""


def test_classes_are_named_as_published(tmp_path: Path) -> None:
    cifar10(tmp_path)
    assert open_dataset(CifarBinary(path=tmp_path)).classes == ()
    (tmp_path / "batches.meta.txt").write_text("\n".join(CIFAR10) + "\n\n")
    data = open_dataset(CifarBinary(path=tmp_path))
    assert data.classes == CIFAR10
    # the first file's only image has label 9
    assert data.classes[data.source[0][1]] == "truck"
    assert "truck (1)" in summary(data)


@pytest.mark.parametrize(
    ("labels", "file", "count"),
    [("cifar100", "fine_label_names.txt", 100), ("cifar100_coarse", "coarse_label_names.txt", 20)],
)
def test_either_names_of_cifar100(tmp_path: Path, labels: Labeling, file: str, count: int) -> None:
    (tmp_path / "test.bin").write_bytes(cifar_record([19, 99], IMAGES[0]))
    names = tuple(f"name_{i}" for i in range(count))
    (tmp_path / file).write_text("\n".join(names) + "\n")
    data = open_dataset(CifarBinary(path=tmp_path, labels=labels, split="test"))
    assert data.classes == names


@pytest.mark.parametrize("names", [CIFAR10[:9], (*CIFAR10[:9], "cat"), (*CIFAR10, "yacht"), ()])
def test_names_that_are_not_one_a_class_are_left_out(tmp_path: Path, names: tuple[str, ...]) -> None:
    cifar10(tmp_path)
    (tmp_path / "batches.meta.txt").write_text("\n".join(names))
    assert open_dataset(CifarBinary(path=tmp_path)).classes == ()
