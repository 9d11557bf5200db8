import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from artifex.training.data import Arrays, open_dataset
from artifex.training.data.source import ArraySource

UINT8 = np.random.default_rng(0).integers(0, 256, (6, 2, 2, 3), np.uint8)
UINT8[0, 0, 0] = 0, 1, 255
LABELS = np.array([0, 2, 1, 1, 2, 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("mapped", [False, True])
def test_every_type_gives_the_same_examples(tmp_path: Path, dtype: type[np.generic], mapped: bool) -> None:
    unit = dtype is np.uint8
    x = UINT8.astype(dtype)
    if mapped:
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "y.npy", LABELS)
        config = Arrays(path=tmp_path / "x.npy", labels=tmp_path / "y.npy", value_range=(-1, 1) if unit else (0, 255))
    else:
        np.savez_compressed(tmp_path / "d.npz", images=x, labels=LABELS)
        config = Arrays(path=tmp_path / "d.npz", value_range=(-1, 1) if unit else (0, 255))
    data = open_dataset(config)
    assert (len(data), data.shape, data.num_classes) == (6, (2, 2, 3), 3)
    for i in range(6):
        image, label = data.source[i]
        assert image.dtype == np.float32
        assert np.allclose(image, UINT8[i] / 127.5 - 1, atol=1e-6)
        assert -1 <= image.min() <= image.max() <= 1
        assert label == LABELS[i]


def test_a_npy_file_is_mapped_and_goes_to_processes_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1000, 50), np.float32))
    source = open_dataset(Arrays(path=tmp_path / "x.npy")).source
    assert isinstance(source, ArraySource)
    assert isinstance(source.x, np.memmap)
    content = pickle.dumps(source)
    assert len(content) < 1000
    assert len(pickle.loads(content)) == 1000


def test_points_need_no_range_and_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", points=np.array([[5.0, -7.0]]))
    data = open_dataset(Arrays(path=tmp_path / "p.npz", x_key="points", labels_key=None))
    batch = next(data.batches(2, seed=0))
    assert data.num_classes is None
    assert np.array_equal(batch.x, [[5, -7], [5, -7]])
    assert np.array_equal(batch.labels, [0, 0])


X = np.zeros((3, 2, 2, 1), np.float32)
NAN = np.where(np.arange(3)[:, None, None, None] == 1, np.nan, X)
Y = LABELS[:3]
REFUSED: dict[str, tuple[Mapping[str, object], Mapping[str, object], str]] = {
    "keys": (
        {"a": X, "b": Y},
        {},
        "must hold one array of examples, such as images or x_train, got a, b; set data.x_key",
    ),
    "key": ({"x": X, "y": Y}, {"x_key": "images"}, "must hold images and y, got x, y"),
    "labels": ({"images": X}, {"labels_key": "labels"}, "must hold images and labels, got images"),
    "counts": ({"images": X, "labels": LABELS}, {}, r"as many.*, got \(3, 2, 2, 1\) and labels \(6,\)"),
    "empty": ({"images": X[:0], "labels": Y[:0]}, {}, r"at least 1, got \(0, 2, 2, 1\)"),
    "nan": ({"images": NAN, "labels": Y}, {}, "NaN or inf in example 1"),
    "range": ({"images": X + 255, "labels": Y}, {}, r"in \[-1, 1\].* got \[255, 255\]"),
    "integers": ({"images": X.astype(np.int64), "labels": Y}, {}, "uint8 or a float, got .* of int64"),
    "scalars": ({"images": X[:, 0, 0, 0], "labels": Y}, {}, r"examples \(n, ...\).* got \(3,\)"),
    "one-hot": ({"images": X, "labels": np.eye(3, dtype=int)}, {}, r"integers \(n,\), got \(3, 3\) of int64"),
    "fractions": ({"images": X, "labels": Y / 2}, {}, r"integers \(n,\), got \(3,\) of float64"),
    "negative": ({"images": X, "labels": np.array([0, -1, 1])}, {}, r"labels must be at least 0, got -1\.\.1"),
    "classes": ({"images": X, "labels": Y}, {"num_classes": 2}, r"labels must be in 0\.\.1, got 0\.\.2"),
    "no classes": ({"images": X}, {"num_classes": 2, "labels_key": None}, "must be None where there are no labels"),
    "objects": ({"images": np.array([{}, {}]), "labels": Y}, {}, "whole npz file of numbers: Object"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_no_data_is_refused_by_its_path(tmp_path: Path, fault: str) -> None:
    arrays, options, says = REFUSED[fault]
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"d\.npz.*{says}"):
        open_dataset(Arrays.model_validate({"path": tmp_path / "d.npz", **options}))


def test_broken_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=UINT8, labels=LABELS)
    (tmp_path / "d.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"d\.npz must be a whole npz file"):
        open_dataset(Arrays(path=tmp_path / "d.npz"))
    np.save(tmp_path / "x.npy", UINT8)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"x\.npy must be a whole npy file"):
        open_dataset(Arrays(path=tmp_path / "x.npy"))
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        open_dataset(Arrays(path=tmp_path / "none.npz"))


def test_nan_in_a_mapped_file_is_told_when_it_is_read(tmp_path: Path) -> None:
    x = np.zeros((3, 2, 2, 1), np.float32)
    x[2, 1, 1, 0] = np.inf
    np.save(tmp_path / "x.npy", x)
    batches = open_dataset(Arrays(path=tmp_path / "x.npy")).batches(3, seed=0)
    with pytest.raises(ValueError, match="x: values must be finite, got NaN or inf in example 2"):
        next(batches)
