"""Arrays as people have them: Keras' and guided-diffusion's files, axes and scales of other libraries, odd labels."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from artifex.training.data import Arrays, Dataset, MnistIdx, open_dataset
from artifex.training.data.source import ArraySource
from tests.training.data.files import idx

RNG = np.random.default_rng(0)
NHWC = RNG.integers(0, 256, (6, 8, 5, 3), np.uint8)
GRAY = NHWC[..., 0]
LABELS = np.array([0, 2, 1, 1, 2, 0])
UNIT = NHWC / 127.5 - 1


def opened(folder: Path, arrays: dict[str, np.ndarray], **options: object) -> Dataset:
    np.savez(folder / "d.npz", **arrays)  # type: ignore[arg-type]
    return open_dataset(Arrays.model_validate({"path": folder / "d.npz", **options}))


def mapped(folder: Path, x: np.ndarray, **options: object) -> Dataset:
    np.save(folder / "x.npy", x)
    return open_dataset(Arrays.model_validate({"path": folder / "x.npy", **options}))


def content(data: Dataset) -> np.ndarray:
    return np.stack([data.source[i][0] for i in range(len(data))])


def labels(data: Dataset) -> list[int]:
    return [data.source[i][1] for i in range(len(data))]


KERAS = {"x_train": GRAY[:4], "y_train": LABELS[:4], "x_test": GRAY[4:], "y_test": np.array([1, 0], np.uint8)}


@pytest.mark.parametrize(
    ("arrays", "options", "x", "y"),
    [
        (KERAS, {}, GRAY[:4], LABELS[:4]),
        (KERAS, {"split": "test"}, GRAY[4:], [1, 0]),
        ({"train_images": GRAY, "train_labels": LABELS[:, None], "val_images": GRAY}, {}, GRAY, LABELS),
        ({"arr_0": NHWC, "arr_1": LABELS}, {}, NHWC, LABELS),
        ({"arr_0": NHWC}, {}, NHWC, None),
        ({"arr_0": NHWC, "mu": np.zeros(9), "sigma": np.eye(9)}, {}, NHWC, None),
        ({"X": NHWC, "Y": LABELS.astype(float)}, {}, NHWC, LABELS),
        ({"samples": NHWC, "labels": LABELS}, {}, NHWC, LABELS),
        ({"pictures": NHWC}, {}, NHWC, None),
        ({"images": NHWC, "labels": LABELS}, {"labels_key": None}, NHWC, None),
        ({"faces": NHWC, "who": LABELS, "x": GRAY}, {"x_key": "faces", "labels_key": "who"}, NHWC, LABELS),
    ],
)
def test_arrays_are_found_by_their_usual_names(
    tmp_path: Path, arrays: dict[str, np.ndarray], options: dict[str, object], x: np.ndarray, y: object
) -> None:
    data = opened(tmp_path, arrays, **options)
    x = x[..., None] if x.ndim == 3 else x
    assert data.shape == x.shape[1:]
    assert np.allclose(content(data), x / 127.5 - 1, atol=1e-6)
    if y is None:
        assert data.num_classes is None
    else:
        assert labels(data) == list(np.asarray(y))


@pytest.mark.parametrize(
    ("arrays", "options", "says"),
    [
        (
            {"images": NHWC, "samples": NHWC},
            {},
            "one array of examples, such as images or x_train, got images, samples",
        ),
        ({"a": NHWC, "b": LABELS}, {}, "got a, b; set data.x_key and data.labels_key"),
        (
            {"images": NHWC, "labels": LABELS, "y": LABELS},
            {},
            "one array of labels, got labels, y; set data.labels_key",
        ),
        (KERAS, {"split": "val"}, "one array of val examples"),
        ({"images": NHWC}, {"split": "test"}, "one array of test examples, such as images or x_train, got images"),
        ({}, {}, "got nothing"),
    ],
)
def test_arrays_that_are_not_found_once_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], options: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=rf"d\.npz must hold .*{re.escape(says)}"):
        opened(tmp_path, arrays, **options)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("file", ["npz", "npy"])
def test_axes_are_brought_to_channels_last(tmp_path: Path, file: str, order: str) -> None:
    def read(x: np.ndarray, layout: str | None) -> Dataset:
        x = np.asarray(x, order=order)  # type: ignore[call-overload]
        return opened(tmp_path, {"x": x}, layout=layout) if file == "npz" else mapped(tmp_path, x, layout=layout)

    for x, layout, expected in (
        (NHWC, None, UNIT),
        (NHWC, "NHWC", UNIT),
        (NHWC.transpose(0, 3, 1, 2), "NCHW", UNIT),
        (GRAY, None, UNIT[..., :1]),
        (GRAY, "NHW", UNIT[..., :1]),
        (GRAY[:, :, :4], "NHW", UNIT[:, :, :4, :1]),
        (GRAY[:, None], "NCHW", UNIT[..., :1]),
        (NHWC[:1], None, UNIT[:1]),
    ):
        data = read(x, layout)
        assert np.allclose(content(data), expected, atol=1e-6)
        assert np.allclose(content(pickle.loads(pickle.dumps(data))), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ((2, 3, 32, 32), {}, "(2, 3, 32, 32), which looks like channels first; set data.layout=NCHW, or NHWC if it is"),
        ((2, 1, 28, 28), {}, "channels first"),
        ((2, 4, 8, 8), {}, "channels first"),
        ((2, 16, 64, 64), {}, "channels first"),
        ((28, 28, 3), {}, "(28, 28, 3), which looks like a single image; add an axis in front, or set data.layout=NHW"),
        ((2, 8, 8), {"layout": "NCHW"}, "layout NCHW is of 4 axes, got (2, 8, 8)"),
        ((2, 8, 0, 3), {}, "examples must not be empty, got (2, 8, 0, 3)"),
        ((0, 8, 8, 3), {}, "at least 1, got (0, 8, 8, 3)"),
    ],
)
def test_axes_that_look_like_others_are_refused(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, object], says: str
) -> None:
    x = np.full(shape, 7, np.uint8)
    with pytest.raises(ValueError, match=re.escape(says)):
        opened(tmp_path, {"x": x}, **options)
    with pytest.raises(ValueError, match=re.escape(says)):
        mapped(tmp_path, x, **options)


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 4, 4, 8)])
def test_a_stated_layout_is_taken(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert opened(tmp_path, {"x": np.full(shape, 7, np.uint8)}, layout="NHWC").shape == shape[1:]


UNCLEAR: dict[str, tuple[np.ndarray, str, tuple[float, float]]] = {
    "floats in [0, 1]": (NHWC / 255, "got [0, 1], which looks like [0, 1]; set data.value_range=[0,1]", (0, 1)),
    "floats in [0, 255]": (NHWC.astype(np.float32), "got [0, 255]; set data.value_range=[0,255]", (0, 255)),
    "floats in [0, 65535]": (NHWC * 257.0, "got [0, 65535]; set data.value_range=[0,65535]", (0, 65535)),
    "standardised floats": (
        (NHWC - 128.0) / 64,
        "got [-2, 1.98438]; set data.value_range=[-2,1.98438]",
        (-2, 127 / 64),
    ),
    "int16": (NHWC.astype(np.int16), "of int16 in [0, 255]; set data.value_range=[0,255]", (0, 255)),
    "int64": (NHWC.astype(np.int64), "of int64 in [0, 255]; set data.value_range=[0,255]", (0, 255)),
    "uint16": (NHWC.astype(np.uint16) * 257, "of uint16 in [0, 65535]; set data.value_range=[0,65535]", (0, 65535)),
    "int8": ((NHWC - 128.0).astype(np.int8), "of int8 in [-128, 127]; set data.value_range=[-128,127]", (-128, 127)),
    "bytes of 0 and 1": ((NHWC > 127).astype(np.uint8), "got none above 1; set data.value_range=[0,1]", (0, 1)),
}


@pytest.mark.parametrize("kind", UNCLEAR)
@pytest.mark.parametrize("file", ["npz", "npy"])
def test_values_on_another_scale_are_named_and_mapped_where_it_is_stated(tmp_path: Path, kind: str, file: str) -> None:
    x, says, (low, high) = UNCLEAR[kind]
    x[0, 0, 0, 0], x[0, 0, 0, 1] = low, high

    def read(**options: object) -> Dataset:
        return opened(tmp_path, {"x": x}, **options) if file == "npz" else mapped(tmp_path, x, **options)

    with pytest.raises(ValueError, match=re.escape(says)):
        read()
    expected = (x.astype(np.float64) - low) / (high - low) * 2 - 1
    assert np.allclose(content(read(value_range=[low, high])), expected, atol=1e-6)
    batch = next(read(value_range=[low, high]).batches(6, seed=0))
    assert batch.x.dtype == np.float32
    assert (batch.x.min(), batch.x.max()) == pytest.approx((-1, 1), abs=1e-6)


def test_positive_floats_may_be_meant_so(tmp_path: Path) -> None:
    assert np.allclose(content(opened(tmp_path, {"x": NHWC / 255}, value_range=[-1, 1])), NHWC / 255)


def test_booleans_are_black_and_white(tmp_path: Path) -> None:
    for data in (opened(tmp_path, {"x": NHWC > 99}), mapped(tmp_path, NHWC > 99)):
        assert np.array_equal(content(data), np.where(NHWC > 99, 1, -1))
        assert np.array_equal(np.unique(next(data.batches(6, seed=0)).x), [-1, 1])


@pytest.mark.parametrize("dtype", [np.complex64, "U3", "V2"])
def test_what_is_no_number_is_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(ValueError, match=r"examples \(n, ...\) of uint8 or a float, got \(2, 8, 8, 1\)"):
        opened(tmp_path, {"x": np.zeros((2, 8, 8, 1), dtype)})


def test_a_part_of_a_mapped_array_goes_to_processes_as_that_part(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", NHWC)
    part = np.load(tmp_path / "x.npy", mmap_mode="r")[2:5, ::2]
    source = pickle.loads(pickle.dumps(ArraySource(part)))
    assert isinstance(source.x, np.memmap)
    assert np.array_equal(source.x, NHWC[2:5, ::2])


@pytest.mark.parametrize(
    ("given", "expected", "classes"),
    [
        (LABELS[:, None], LABELS, ()),
        (LABELS.astype(np.float32), LABELS, ()),
        (LABELS > 0, [0, 1, 1, 1, 1, 0], ()),
        (LABELS.astype(str), LABELS, ("0", "1", "2")),
        (np.array(["10", "9", "2", "10", "2", "9"]), [2, 1, 0, 2, 0, 1], ("2", "9", "10")),
        (np.array(["cat", "owl", "dog", "dog", "owl", "cat"]), LABELS, ("cat", "dog", "owl")),
        (np.array([b"cat", b"owl", b"dog", b"dog", b"owl", b"cat"]), LABELS, ("cat", "dog", "owl")),
    ],
)
def test_labels_of_other_types_are_the_same_labels(
    tmp_path: Path, given: np.ndarray, expected: np.ndarray, classes: tuple[str, ...]
) -> None:
    data = opened(tmp_path, {"x": NHWC, "y": given})
    assert labels(data) == list(expected)
    assert data.classes == classes


def test_named_labels_are_numbered_as_the_classes_are_named(tmp_path: Path) -> None:
    names = np.array(["cat", "owl", "dog", "dog", "owl", "cat"])
    data = opened(tmp_path, {"x": NHWC, "y": names}, classes=["owl", "dog", "cat", "fox"])
    assert (labels(data), data.num_classes) == ([2, 0, 1, 1, 0, 2], 4)
    with pytest.raises(ValueError, match="labels must be of classes owl, cat, got dog"):
        opened(tmp_path, {"x": NHWC, "y": names}, classes=["owl", "cat"])


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        (LABELS + 1, {}, "labels must be each of 0..3, got 1..3 and none of 0; data.first_label=1 counts from 1, "),
        (LABELS * 2, {}, "labels must be each of 0..4, got 0..4 and none of 1; data.num_classes=5 keeps classes"),
        (np.eye(3, dtype=int)[LABELS], {}, "got (6, 3) of int64, one-hot: store labels.argmax(axis=1)"),
        (LABELS, {"classes": ["a", "b"]}, "labels must be in 0..1, got 0..2"),
        (LABELS, {"first_label": 1}, "labels must be at least 0, got -1..1"),
        (LABELS / 2, {}, "labels must be integers (n,), got (6,) of float64"),
        (np.array([0, 1, np.nan, 0, 1, 0]), {}, "labels must be integers (n,), got (6,) of float64"),
    ],
)
def test_labels_that_leave_classes_empty_or_are_none_are_refused(
    tmp_path: Path, given: np.ndarray, options: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        opened(tmp_path, {"x": NHWC, "y": given}, **options)


def test_labels_may_begin_at_another_number_or_leave_classes_empty_where_that_is_stated(tmp_path: Path) -> None:
    data = opened(tmp_path, {"x": NHWC, "y": LABELS + 1}, first_label=1, classes=["a", "b", "c"])
    assert (labels(data), data.num_classes, data.classes) == (list(LABELS), 3, ("a", "b", "c"))
    assert opened(tmp_path, {"x": NHWC, "y": LABELS + 1}, num_classes=7).num_classes == 7


def emnist(folder: Path, name: str, first: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.integers(0, 256, (classes, 4, 4), np.uint8)
    y = np.arange(classes, dtype=np.uint8) + first
    idx(folder / f"emnist-{name}-train-images-idx3-ubyte.gz", x.transpose(0, 2, 1))  # as the files have them
    idx(folder / f"emnist-{name}-train-labels-idx1-ubyte.gz", y)
    return x, y


def test_the_letters_of_emnist_stand_upright_and_count_from_a(tmp_path: Path) -> None:
    x, _ = emnist(tmp_path, "letters", 1, 26)
    data = open_dataset(MnistIdx(path=tmp_path))
    assert np.allclose(content(data)[..., 0], x / 127.5 - 1, atol=1e-6)
    assert labels(data) == list(range(26))
    assert (data.num_classes, "".join(data.classes)) == (26, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    lying = open_dataset(MnistIdx(path=tmp_path, transpose=False))
    assert np.allclose(content(lying)[..., 0], x.transpose(0, 2, 1) / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "classes", "last"), [("balanced", 47, "t"), ("byclass", 62, "z"), ("digits", 10, "9")]
)
def test_one_of_emnists_sets_is_chosen_by_its_name(tmp_path: Path, name: str, classes: int, last: str) -> None:
    emnist(tmp_path, "letters", 1, 26)
    emnist(tmp_path, name, 0, classes)
    with pytest.raises(ValueError, match=r"data\.prefix chooses by the beginning of their names"):
        open_dataset(MnistIdx(path=tmp_path))
    data = open_dataset(MnistIdx(path=tmp_path, prefix=f"emnist-{name}"))
    assert (data.num_classes, data.classes[-1]) == (classes, last)


def test_other_labels_from_one_on_are_refused(tmp_path: Path) -> None:
    idx(tmp_path / "train-images-idx3-ubyte", np.zeros((3, 4, 4), np.uint8))
    idx(tmp_path / "train-labels-idx1-ubyte", np.array([1, 2, 3], np.uint8))
    with pytest.raises(ValueError, match=r"got 1\.\.3 and none of 0; data.first_label=1 counts from 1"):
        open_dataset(MnistIdx(path=tmp_path))
    assert open_dataset(MnistIdx(path=tmp_path, first_label=1)).num_classes == 3
