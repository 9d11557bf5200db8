import itertools
import json
import re

import numpy as np
import pytest

from artifex.training.data import Augmentation, Batch, Dataset, Digits, Toy, batch_indices, digits, open_dataset
from artifex.training.data.batches import Batches
from artifex.training.data.source import ArraySource

N = 23


def numbered(n: int = N, name: str = "numbers", **options: object) -> Dataset:
    """2x3 images whose first pixel is their index."""
    x = np.add.outer(np.arange(n), np.array([[0, 50, 100], [30, 80, 130]])).astype(np.uint8)[..., None]
    return Dataset(name, ArraySource(x, np.arange(n) % 5, "numbers"), (2, 3, 1), 5, **options)  # type: ignore[arg-type]


def indices(batch: Batch) -> list[int]:
    """Which images they are."""
    return [round((float(x) + 1) * 127.5) for x in batch.x[:, 0, 0, 0]]


def same(a: Batch, b: Batch) -> bool:
    return np.array_equal(a.x, b.x) and np.array_equal(a.labels, b.labels)


def test_the_order_is_that_of_batch_indices() -> None:
    batches = numbered().batches(7, seed=11)
    for step in range(8):
        batch = next(batches)
        assert indices(batch) == list(batch_indices(N, 7, 11, step))
        assert list(batch.labels) == [i % 5 for i in indices(batch)]
        assert (str(batch.x.dtype), str(batch.labels.dtype), batch.x.shape) == ("float32", "int32", (7, 2, 3, 1))


def test_digits_batches_are_those_of_the_images_in_memory() -> None:
    batches = open_dataset(Digits()).batches(100, seed=2)
    for step in range(20):
        images, labels = digits().batch(step, 100, 2)
        batch = next(batches)
        assert np.array_equal(batch.x, images)
        assert np.array_equal(batch.labels, labels)


@pytest.mark.parametrize("hosts", [2, 3, 6])
def test_hosts_share_the_batch_of_one(hosts: int) -> None:
    data = numbered(augmentation=Augmentation(flip=True, shift=1))
    whole = data.batches(12, seed=1)
    shares = [data.batches(12, seed=1, shard=(i, hosts)) for i in range(hosts)]
    for _ in range(5):
        batch, parts = next(whole), [next(share) for share in shares]
        assert same(batch, Batch(np.concatenate([p.x for p in parts]), np.concatenate([p.labels for p in parts])))


@pytest.mark.parametrize("stop", [0, 1, 9])
def test_a_state_goes_through_json_and_resumes_exactly(stop: int) -> None:
    data = numbered(augmentation=Augmentation(flip=True, shift=2))
    batches = data.batches(7, seed=0)
    for _ in range(stop):
        next(batches)
    state = json.loads(json.dumps(batches.state()))
    resumed = data.batches(7, seed=0)
    resumed.restore(state)
    assert resumed.state() == state
    for _ in range(6):
        assert same(next(batches), next(resumed))


def test_another_batch_size_goes_on_where_the_stream_of_examples_was() -> None:
    """Twice over: 3 batches of 7, 2 of 4 and then 5 of 3 are the first 44 examples of the stream."""
    stream, drawn = numbered().batches(7, seed=3), list[int]()
    for size, steps in ((7, 3), (4, 2), (3, 5)):
        state = json.loads(json.dumps(stream.state()))
        stream = numbered().batches(size, seed=3)
        stream.restore(state)
        for _ in range(steps):
            drawn += indices(next(stream))
    assert drawn == [int(batch_indices(N, 1, 3, step)[0]) for step in range(44)]
    halves = [numbered().batches(4, seed=3, shard=(i, 2)) for i in range(2)]
    for half in halves:
        half.restore({**state, "skipped": []})
    assert [indices(next(half)) for half in halves] == [drawn[29:31], drawn[31:33]]


@pytest.mark.parametrize("n", [30, 10])
def test_changed_data_goes_on_with_a_whole_epoch_of_its_own(n: int) -> None:
    before = numbered().batches(7, seed=3)
    for _ in range(5):
        next(before)
    stream = numbered(n, "others").batches(2, seed=3, accept_changed_data=True)
    stream.restore(before.state())
    drawn = [indices(next(stream)) for _ in range(n // 2)]
    assert sorted(itertools.chain(*drawn)) == list(range(n))
    again = numbered(n, "others").batches(2, seed=3)
    again.restore({**stream.state(), "step": 5 + 2})
    assert indices(next(again)) == drawn[2]
    renamed = numbered(name="moved").batches(7, seed=3, accept_changed_data=True)
    renamed.restore(before.state())
    assert same(next(renamed), next(before))


def test_toys_are_batched_as_points() -> None:
    data = open_dataset(Toy(name="gaussians", size=50))
    batch = next(data.batches(8, seed=0))
    assert (len(data), data.shape, data.num_classes, batch.x.shape) == (50, (2,), 8, (8, 2))


def test_batches_are_what_the_protocol_says() -> None:
    assert isinstance(numbered().batches(1, 0), Batches)


@pytest.mark.parametrize(
    ("change", "value", "says"),
    [
        ("seed", 1, "the seed must stay 1 when a run is resumed, got 0"),
        (
            "examples",
            24,
            "the number of examples must stay 24 when a run is resumed, got 23; changed data must be",
        ),
        ("data", "x", "the name of the data must stay 'x' when a run is resumed, got 'numbers'; changed data must"),
        ("shape", [2], "the shape of an example must stay [2] when a run is resumed, got [2, 3, 1]"),
        ("num_classes", 2, "the number of classes must stay 2 when a run is resumed, got 5"),
        ("classes", ["a"], "the names of the classes must stay ['a'] when a run is resumed, got []"),
        ("step", -1, "a state must hold step, at least 0, and skipped, a list; got -1"),
        ("step", "2", "a state must hold step, at least 0, and skipped, a list; got '2'"),
    ],
)
def test_a_state_of_other_batches_is_refused(change: str, value: object, says: str) -> None:
    batches = numbered().batches(7, seed=0)
    next(batches)
    with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
        batches.restore({**batches.state(), change: value})
    assert batches.state()["step"] == 1


@pytest.mark.parametrize(
    ("size", "seed", "workers", "shard", "says"),
    [
        (0, 0, 0, (0, 1), "got size = 0"),
        (4, -1, 0, (0, 1), "seed = -1"),
        (4, 0, -1, (0, 1), "workers = -1"),
        (4, 0, 0, (2, 2), r"got \(2, 2\)"),
        (4, 0, 0, (0, 3), r"divisor of size = 4, got \(0, 3\)"),
    ],
)
def test_impossible_batches_are_refused(size: int, seed: int, workers: int, shard: tuple[int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        numbered().batches(size, seed, workers=workers, shard=shard)


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        (
            [(np.zeros(2), 0), (np.zeros(3), 0)],
            r"\(2,\) of uint8 or a float, got \(3,\) of float64 in example 1",
        ),
        ([(np.zeros(2), 0), (np.zeros(2, int), 0)], r"got \(2,\) of int64 in example 1"),
        ([(np.zeros(2), 0), (np.array([0, np.inf]), 0)], "finite, got NaN or inf in example 1"),
        ([(np.zeros((2, 2, 1)), 0), (np.full((2, 2, 1), 255.0), 0)], r"in \[-1, 1\].*got \[0, 255\]"),
        ([(np.zeros(2), 0), (np.zeros(2), 3)], r"labels must be in 0\.\.2, got 3 of example 1"),
        ([(np.zeros(2), -1), (np.zeros(2), 0)], r"labels must be in 0\.\.2, got -1 of example 0"),
        ([{"x": np.zeros(2)}], r"must give \(x, label\), got dict"),
        ([], "must hold at least one example, got none"),
    ],
)
def test_sources_of_anything_else_are_refused(examples: list[tuple[np.ndarray, int]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        next(Dataset.from_source(examples, num_classes=3).batches(2, seed=0))


def test_a_source_with_channels_first_or_in_zero_to_one_is_named(caplog: pytest.LogCaptureFixture) -> None:
    x = np.linspace(0, 1, 192, dtype=np.float32)
    with pytest.raises(
        ValueError, match=r"must be \(height, width, channels\), got \(3, 8, 8\), which is channels first"
    ):
        Dataset.from_source([(x.reshape(3, 8, 8), 0)])
    data = Dataset.from_source([(x.reshape(8, 8, 3), 0)], name="mine")
    assert data.notes == ("floats in [0, 1], where [-1, 1] is expected: 2 * x - 1 maps them to it",)
    assert caplog.messages == [f"mine holds {data.notes[0]}"]
    for fine in (2 * x - 1, x * 0, (255 * x).astype(np.uint8), x * 0.5 - 0.1):
        assert Dataset.from_source([(fine.reshape(8, 8, 3), 0)]).notes == ()
    assert Dataset.from_source([(x, 0)]).notes == ()
    assert len(caplog.messages) == 1
