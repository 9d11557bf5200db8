import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from artifex.training.data import MnistIdx, open_dataset
from artifex.training.data.idx import read_idx
from tests.training.data.files import idx, mnist


@pytest.mark.parametrize(("suffix", "prefix"), [("", "train"), (".gz", "train"), (".gz", "t10k"), ("", "emnist-test")])
def test_images_and_labels_are_those_written(tmp_path: Path, suffix: str, prefix: str) -> None:
    x, y = mnist(tmp_path, suffix=suffix, prefix=prefix)
    data = open_dataset(MnistIdx(path=tmp_path, split="train" if prefix == "train" else "test", num_classes=10))
    assert (len(data), data.shape, data.num_classes) == (5, (4, 3, 1), 10)
    for i in range(5):
        image, label = data.source[i]
        assert np.allclose((image[..., 0] + 1) * 127.5, x[i], atol=1e-4)
        assert label == y[i]


def test_the_unpacked_file_beside_the_packed_is_taken(tmp_path: Path) -> None:
    mnist(tmp_path, n=3, suffix=".gz")
    mnist(tmp_path, n=4)
    assert len(open_dataset(MnistIdx(path=tmp_path))) == 4


def test_an_unpacked_file_may_be_called_gz(tmp_path: Path) -> None:
    path = idx(tmp_path / "a", np.arange(3, dtype=np.uint8))
    assert list(read_idx(path.rename(tmp_path / "a.gz"), 1)) == [0, 1, 2]


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "short": (
        lambda path: idx(path, np.zeros((2, 4, 3), np.uint8), cut=1),
        r"must hold 24 bytes of \(2, 4, 3\), got 23",
    ),
    "long": (lambda path: path.write_bytes(path.read_bytes() + b"!!"), "must hold 60 .* got 62"),
    "header": (lambda path: idx(path, np.zeros((2, 4, 3), np.uint8), cut=26), "16 bytes of shape, got 14 bytes"),
    "empty": (lambda path: path.write_bytes(b""), "starts with 00 00 08 03, got an empty file"),
    "ints": (lambda path: idx(path, np.zeros((2, 4, 3), np.uint8), magic=b"\0\0\x0c"), "00 00 08 03, got 00 00 0c 03"),
    "labels": (lambda path: idx(path, np.zeros(24, np.uint8)), "in 3 dimensions.* got 00 00 08 01"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"\0\0\x08\x03" * 99)[:-9]), "must be a whole gzip file: "),
    "crc": (lambda path: path.write_bytes(gzip.compress(b"\0\0\x08\x03")[:-8] + b"\0" * 8), "whole gzip file: CRC"),
    "count": (lambda path: idx(path, np.zeros((2, 4, 3), np.uint8)), "as many images as labels, got 2 and 5"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_files_are_refused_by_their_path(tmp_path: Path, fault: str) -> None:
    mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    breaking, says = BROKEN[fault]
    breaking(path)
    with pytest.raises(ValueError, match=says) as error:
        open_dataset(MnistIdx(path=tmp_path))
    assert str(path) in str(error.value)


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    mnist(tmp_path)
    with pytest.raises(ValueError, match=r"train-images.*labels must be in 0\.\.3, got 0\.\.4"):
        open_dataset(MnistIdx(path=tmp_path, num_classes=4))


def test_missing_and_ambiguous_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\*train-images\*, got an empty folder"):
        open_dataset(MnistIdx(path=tmp_path))
    with pytest.raises(FileNotFoundError, match="got no such folder"):
        open_dataset(MnistIdx(path=tmp_path / "none"))
    mnist(tmp_path)
    mnist(tmp_path, prefix="letters-train")
    with pytest.raises(ValueError, match=r"one file \*train-images\*, got .*letters-train-images.*, .*/train-images"):
        open_dataset(MnistIdx(path=tmp_path))
    with pytest.raises(FileNotFoundError, match=r"t10k-images\* or \*test-images\*, got letters-train"):
        open_dataset(MnistIdx(path=tmp_path, split="test"))
